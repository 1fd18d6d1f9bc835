// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Tls;

namespace Fleece.Sessions;

/// <summary>Opens whatever a user's address means: an image file, or an export of an NBD server.</summary>
internal static class Storage
{
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

    /// <summary>Opens a node, which the caller owns. An export has no format, for its bytes are the disk's, and no file.</summary>
    /// <param name="address">A path or an NBD URI.</param>
    /// <param name="options">How; an export knows only read-only or not.</param>
    /// <param name="tls">Certificates for nbds.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public static async ValueTask<(IBlockNode Node, ImageFormat? Format, FileEvidence? Found)> OpenAsync(
        string address, ImageOpenOptions options, TlsClientOptions? tls, CancellationToken cancellationToken)
    {
        if (!NbdUri.IsUri(address))
        {
            return await Image.OpenWithEvidenceAsync(address, options, cancellationToken).ConfigureAwait(false);
        }

        if (options.Format is not (null or ImageFormat.Raw) || options.SnapshotName is not null || options.IsLayerOnly)
        {
            throw new BlockException(
                BlockErrorKind.InvalidArgument,
                $"'{address}' is an export, whose bytes are the disk's own; it has no format, no parents and no internal " +
                "snapshots. Leave them out.");
        }

        NbdNodeOptions connecting = new() { IsReadOnly = options.IsReadOnly, Tls = tls };
        NbdNode node = await NbdNode.ConnectAsync(NbdUri.Parse(address), connecting, cancellationToken).ConfigureAwait(false);
        return (DiskSectors.Over(node), null, null);
    }
}
