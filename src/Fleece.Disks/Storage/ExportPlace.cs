// SPDX-License-Identifier: MIT
using System.Net;
using Fleece.Images.Chain;
using Fleece.Nbd;

namespace Fleece.Disks.Storage;

/// <summary>An export as all spellings of its address name it.</summary>
/// <remarks>TLS makes no difference: one server may offer an export with and without it. Loopback has several names. A server that gives
/// one export several names, or listens at several addresses, is seen through only where it tells what the export is of
/// (<see cref="ExportIdentity"/>).</remarks>
/// <param name="Server">The listener: the real path of its socket, or its host and port.</param>
/// <param name="Name">The export's name; of a live disk whose server tells it, the disk's.</param>
/// <param name="IsDisk">True when <paramref name="Name"/> is a disk's.</param>
internal readonly record struct ExportPlace(string Server, string Name, bool IsDisk)
{
    private const string Loopback = "localhost";

    /// <summary>The place that an address names.</summary>
    public static ExportPlace Of(NbdUri uri) => new(FindServer(uri), uri.ExportName, IsDisk: false);

    /// <summary>The place of the live disk that the server tells; null where it tells none.</summary>
    public static ExportPlace? Of(NbdUri uri, ExportIdentity? identity) =>
        identity is { IsSnapshot: false, DiskName: { } disk } ? new(FindServer(uri), disk.ToUpperInvariant(), IsDisk: true) : null;

    private static string FindServer(NbdUri uri)
    {
        if (uri.IsUnix)
        {
            string path = Path.GetFullPath(uri.SocketPath);
            return RealPath.Find(path) ?? path;
        }

        string host = uri.Host.TrimEnd('.').ToLowerInvariant();
        if (IPAddress.TryParse(host, out IPAddress? address))
        {
            address = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
            host = address.Equals(IPAddress.Loopback) || address.Equals(IPAddress.IPv6Loopback) ? Loopback : address.ToString();
        }

        return $"{(host.Length == 0 ? Loopback : host)}|{uri.Port}";
    }
}
