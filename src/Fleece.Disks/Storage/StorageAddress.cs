// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Tls;

namespace Fleece.Disks.Storage;

/// <summary>What an address led to.</summary>
/// <param name="Node">The image, or the export.</param>
/// <param name="Format">The image's format; null for an export whose bytes are the disk's own.</param>
/// <param name="Found">The image's file before it was opened; null for none.</param>
/// <param name="Identity">What the server tells of the export; null for a file, and for a server that tells nothing.</param>
/// <param name="Note">What the user should hear of how it was opened; whole sentences; null for nothing.</param>
internal sealed record OpenedStorage(
    IBlockNode Node, ImageFormat? Format, FileEvidence? Found, ExportIdentity? Identity, string? Note = null);

/// <summary>Opens whatever a user's address means: an image file, or an export of an NBD server.</summary>
internal static class StorageAddress
{
    // A client that has just left is counted until its server has seen that.
    private const int GuestCounts = 5;
    private static readonly TimeSpan BetweenCounts = TimeSpan.FromMilliseconds(50);

    /// <summary>The address in its full form, so that two ways of writing one are equal.</summary>
    public static string FullAddress(string address) =>
        NbdUri.IsUri(address) ? NbdUri.Parse(address).ToString() : Path.GetFullPath(address);

    /// <summary>What a disk is called when nobody names it.</summary>
    public static string NameOf(string address)
    {
        if (!NbdUri.IsUri(address))
        {
            return Path.GetFileNameWithoutExtension(address);
        }

        NbdUri uri = NbdUri.Parse(address);
        string name = uri.ExportName.Length != 0 ? uri.ExportName : uri.Host;
        return name[(name.LastIndexOf('/') + 1)..];
    }

    /// <summary>Opens a node, which the caller owns. The bytes of an export are the disk's own unless the format of an image is named that
    /// lies on it: the guest of a raw disk can write any header. A snapshot that another Fleece serves is read-only.</summary>
    /// <param name="address">A path or an NBD URI.</param>
    /// <param name="options">How.</param>
    /// <param name="tls">Certificates for nbds.</param>
    /// <param name="user">What it is opened for, as a message calls it: "the disk 'vm'".</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/>: the export is used already, as <see cref="ExportUse"/> and
    /// <see cref="ConnectToOverwriteAsync"/> say; or why it can't be opened.</exception>
    public static async ValueTask<OpenedStorage> OpenAsync(
        string address, ImageOpenOptions options, TlsClientOptions? tls, string user, CancellationToken cancellationToken)
    {
        if (!NbdUri.IsUri(address))
        {
            (IBlockNode image, ImageFormat? format, FileEvidence? found) =
                await Image.OpenWithEvidenceAsync(address, options, cancellationToken).ConfigureAwait(false);
            return new OpenedStorage(image, format, found, Identity: null);
        }

        bool isImage = options.Format is not (null or ImageFormat.Raw);
        if (!isImage && (options.SnapshotName is not null || options.IsLayerOnly))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{address}' is an export whose bytes are the disk's own, which has no parents and no internal snapshots. Leave them " +
                "out, or, if an image lies on the export, name its format.");
        }

        NbdUri uri = NbdUri.Parse(address);
        NbdNodeOptions connecting = new() { IsReadOnly = options.IsReadOnly, Tls = tls };
        (NbdNode node, ExportIdentity? identity) = await ConnectAsync(uri, connecting, cancellationToken).ConfigureAwait(false);
        if (identity is { IsSnapshot: true } && !node.Geometry.IsReadOnly)
        {
            // The server announces it as writable, so that a backup can consume it. A disk's discards must not.
            await node.DisposeAsync().ConfigureAwait(false);
            (node, identity) = await ConnectAsync(uri, connecting with { IsReadOnly = true }, cancellationToken).ConfigureAwait(false);
        }

        try
        {
            bool isReadOnly = node.Geometry.IsReadOnly;
            ExportUsage usage = isImage
                ? isReadOnly ? ExportUsage.ReadImage : ExportUsage.WriteImage
                : isReadOnly ? ExportUsage.ReadDisk : ExportUsage.WriteDisk;
            node.Lease = ExportUse.Begin(uri, identity, usage, user);
            if (usage == ExportUsage.WriteImage)
            {
                await CheckUnusedAsync(
                    uri, identity, connecting, "Disconnect them first, or mount it read-only.", cancellationToken).ConfigureAwait(false);
            }

            return isImage
                ? new OpenedStorage(
                    await ImageOnNode.OpenAsync(node, address, options, cancellationToken).ConfigureAwait(false),
                    options.Format,
                    Found: null,
                    identity)
                : new OpenedStorage(
                    DiskSectors.Over(node),
                    Format: null,
                    Found: null,
                    identity,
                    options.Format is null
                        ? await FindHintAsync(node, address, options.Parameters.Format, cancellationToken).ConfigureAwait(false)
                        : null);
        }
        catch
        {
            await node.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Connects to an export and reads what its server tells of it.</summary>
    /// <exception cref="BlockException">As <see cref="NbdNode.ConnectAsync"/> and <see cref="ExportIdentity.Read"/>.</exception>
    public static async ValueTask<(NbdNode Node, ExportIdentity? Identity)> ConnectAsync(
        NbdUri uri, NbdNodeOptions options, CancellationToken cancellationToken)
    {
        NbdNode node = await NbdNode.ConnectAsync(uri, options, cancellationToken).ConfigureAwait(false);
        try
        {
            return (node, ExportIdentity.Read(uri, node.Identity));
        }
        catch
        {
            await node.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Connects to an export in order to overwrite it. One that this process uses is refused, and so is a disk that clients use at
    /// the moment, as an image in use is.</summary>
    /// <param name="uri">The export.</param>
    /// <param name="options">How to connect.</param>
    /// <param name="user">What it is overwritten for, as a message calls it.</param>
    /// <param name="advice">What to do with clients that use the disk; a whole sentence; null overwrites it all the same.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/>, or as <see cref="ConnectAsync"/>.</exception>
    public static async ValueTask<NbdNode> ConnectToOverwriteAsync(
        NbdUri uri, NbdNodeOptions options, string user, string? advice, CancellationToken cancellationToken)
    {
        (NbdNode node, ExportIdentity? identity) = await ConnectAsync(uri, options, cancellationToken).ConfigureAwait(false);
        try
        {
            node.Lease = ExportUse.Begin(uri, identity, ExportUsage.Overwrite, user);
            if (advice is not null)
            {
                await CheckUnusedAsync(uri, identity, options, advice, cancellationToken).ConfigureAwait(false);
            }

            return node;
        }
        catch
        {
            await node.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    // As for a file whose name says raw: a header there may be the guest's own doing. The file is refused, because renaming it helps; an
    // export without a format has always been a raw disk, so that is said.
    private static async ValueTask<string?> FindHintAsync(
        NbdNode node, string address, string? parameter, CancellationToken cancellationToken)
    {
        byte[] head = new byte[ImageProbe.HeadBytes];
        if (node.Geometry.LengthBytes < ImageProbe.HeadBytes)
        {
            return null;
        }

        try
        {
            await ByteGranularNode.Over(node).ReadAsync(0, head, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException)
        {
            // A snapshot may deny the range. The first real read reports any other failure.
            return null;
        }

        return ImageProbe.FindByHead(head) is not { } format ? null :
            $"'{address}' begins like a {format} image and is used as a raw disk, because the guest of a raw disk can write those bytes " +
            "itself. If an image lies on the export, " +
            (parameter is null ? "name its format." : $"name its format with {parameter} {format}; {parameter} Raw says that none does.");
    }

    // Of two that begin at one moment both may be told of none when they connect. Here the caller's own connection counts already, so each
    // is told of the other.
    private static async ValueTask CheckUnusedAsync(
        NbdUri uri, ExportIdentity? identity, NbdNodeOptions options, string advice, CancellationToken cancellationToken)
    {
        if (identity is not { IsSnapshot: false })
        {
            return;
        }

        int others = await CountGuestsAsync(uri, options, cancellationToken).ConfigureAwait(false) - 1;
        for (int counts = 1; others > 0 && counts < GuestCounts; counts++)
        {
            await Task.Delay(BetweenCounts, cancellationToken).ConfigureAwait(false);
            others = await CountGuestsAsync(uri, options, cancellationToken).ConfigureAwait(false) - 1;
        }

        if (others > 0)
        {
            throw new BlockException(
                BlockErrors.InUse,
                $"'{uri}' is the live disk '{identity.DiskName}' of another Fleece, and {others} client(s) use it now, whose data would " +
                $"be overwritten. {advice}",
                uri.ToString(),
                operation: "connect");
        }
    }

    private static async ValueTask<int> CountGuestsAsync(NbdUri uri, NbdNodeOptions options, CancellationToken cancellationToken)
    {
        (NbdNode node, ExportIdentity? identity) =
            await ConnectAsync(uri, options with { IsReadOnly = true }, cancellationToken).ConfigureAwait(false);
        await node.DisposeAsync().ConfigureAwait(false);
        return identity?.GuestCount ?? 0;
    }
}
