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
    private const int HeadBytes = 512;

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
    /// <param name="cancellationToken">Ends the attempt.</param>
    public static async ValueTask<OpenedStorage> OpenAsync(
        string address, ImageOpenOptions options, TlsClientOptions? tls, CancellationToken cancellationToken)
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

    /// <summary>Connects to an export in order to overwrite it. A disk that clients use at the moment is refused, as an image in use is.
    /// </summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/>, or as <see cref="ConnectAsync"/>.</exception>
    public static async ValueTask<NbdNode> ConnectToOverwriteAsync(
        NbdUri uri, NbdNodeOptions options, string advice, CancellationToken cancellationToken)
    {
        (NbdNode node, ExportIdentity? identity) = await ConnectAsync(uri, options, cancellationToken).ConfigureAwait(false);
        try
        {
            if (identity is not { IsSnapshot: false })
            {
                return node;
            }

            int others = identity.GuestCount ?? 0;
            if (others == 0)
            {
                // Two that begin at one moment were both told of none. Now the connection counts, so each is told of the other.
                others = await CountGuestsAsync(uri, options, cancellationToken).ConfigureAwait(false) - 1;
            }

            return others <= 0 ? node : throw new BlockException(
                BlockErrors.InUse,
                $"'{uri}' is the live disk '{identity.DiskName}' of another Fleece, and {others} client(s) use it now, whose data would " +
                $"be overwritten. {advice}",
                uri.ToString(),
                operation: "connect");
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
        byte[] head = new byte[HeadBytes];
        if (node.Geometry.LengthBytes < HeadBytes)
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

    private static async ValueTask<int> CountGuestsAsync(NbdUri uri, NbdNodeOptions options, CancellationToken cancellationToken)
    {
        (NbdNode node, ExportIdentity? identity) =
            await ConnectAsync(uri, options with { IsReadOnly = true }, cancellationToken).ConfigureAwait(false);
        await node.DisposeAsync().ConfigureAwait(false);
        return identity?.GuestCount ?? 0;
    }
}
