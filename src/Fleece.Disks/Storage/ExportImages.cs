// SPDX-License-Identifier: MIT
using Fleece.Images;
using Fleece.Images.Checking;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Tls;

namespace Fleece.Disks.Storage;

/// <summary>Describes and checks images that lie on exports of NBD servers. One that this process writes to is refused
/// (<see cref="ExportUse"/>), as a file is.</summary>
internal static class ExportImages
{
    /// <summary>As <see cref="Image.GetInfoAsync"/>.</summary>
    /// <param name="uri">The export.</param>
    /// <param name="format">The image's format; not raw.</param>
    /// <param name="tls">Certificates for nbds.</param>
    /// <param name="untrusted">The limits of an image from a stranger; null for one that is trusted.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public static async ValueTask<ImageInfo> DescribeAsync(
        NbdUri uri, ImageFormat format, TlsClientOptions? tls, UntrustedLimits? untrusted, CancellationToken cancellationToken)
    {
        NbdNodeOptions options = new() { Tls = tls, IsReadOnly = true };
        NbdNode node = await ConnectToReadAsync(uri, options, "a description", cancellationToken).ConfigureAwait(false);
        await using (node.ConfigureAwait(false))
        {
            return await ImageOnNode
                .GetInfoAsync(node, uri.ToString(), format, cancellationToken, untrusted).ConfigureAwait(false);
        }
    }

    /// <summary>As <see cref="Image.CheckAsync"/>. An export that this process or clients of another Fleece use at the moment is not
    /// repaired.</summary>
    /// <inheritdoc cref="DescribeAsync"/>
    /// <param name="uri">The export.</param>
    /// <param name="format">The image's format; not raw.</param>
    /// <param name="repair">What may be changed.</param>
    /// <param name="tls">Certificates for nbds.</param>
    /// <param name="untrusted">The limits of an image from a stranger; null for one that is trusted.</param>
    /// <param name="cancellationToken">Gives up; a repair that was begun is finished.</param>
    public static async ValueTask<ImageReport> CheckAsync(
        NbdUri uri,
        ImageFormat format,
        ImageRepair repair,
        TlsClientOptions? tls,
        UntrustedLimits? untrusted,
        CancellationToken cancellationToken)
    {
        NbdNodeOptions options = new() { Tls = tls, IsReadOnly = repair == ImageRepair.None };
        NbdNode node = repair == ImageRepair.None
            ? await ConnectToReadAsync(uri, options, "a check", cancellationToken).ConfigureAwait(false)
            : await StorageAddress
                .ConnectToOverwriteAsync(uri, options, "a repair", "Disconnect them first.", cancellationToken).ConfigureAwait(false);
        await using (node.ConfigureAwait(false))
        {
            return await ImageOnNode
                .CheckAsync(node, uri.ToString(), format, repair, cancellationToken, untrusted).ConfigureAwait(false);
        }
    }

    private static async ValueTask<NbdNode> ConnectToReadAsync(
        NbdUri uri, NbdNodeOptions options, string user, CancellationToken cancellationToken)
    {
        (NbdNode node, ExportIdentity? identity) =
            await StorageAddress.ConnectAsync(uri, options, cancellationToken).ConfigureAwait(false);
        try
        {
            node.Lease = ExportUse.Begin(uri, identity, ExportUsage.ReadImage, user);
            return node;
        }
        catch
        {
            await node.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }
}
