// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Disks.Exports;
using Fleece.Hosting.Logging;
using Fleece.Hosting.Systemd;
using Fleece.Nbd;

namespace Fleece.Hosting.Host;

/// <summary>Listeners of disks in systemd's descriptor store.</summary>
/// <remarks>Threading. One call at a time, as <see cref="IListenSockets"/> says; <see cref="ReleaseAllBut"/> may be called beside them.
/// </remarks>
internal sealed class KeptSockets(ServiceNotifier notifier, InheritedDescriptors inherited, HostLog log) : IListenSockets
{
    // The name under which the socket of an address is stored.
    private readonly Dictionary<string, string> _names = new(StringComparer.Ordinal);

    /// <inheritdoc/>
    public SafeSocketHandle? Take(NbdUri uri)
    {
        if (NameOf(uri) is not { } name || inherited.Claim(name) is not { } socket)
        {
            return null;
        }

        _names[AddressOf(uri)] = name;
        return socket;
    }

    /// <inheritdoc/>
    public bool TryKeep(NbdUri uri, SafeSocketHandle socket)
    {
        if (!notifier.IsActive || NameOf(uri) is not { } name)
        {
            return false;
        }

        _names[AddressOf(uri)] = name;
        return TryTell(() => notifier.Store(name, socket), $"'{uri}' ends with this process");
    }

    /// <inheritdoc/>
    public void Remove(NbdUri uri)
    {
        if (_names.Remove(AddressOf(uri), out string? name))
        {
            TryTell(() => notifier.Remove(name), $"systemd keeps the socket of '{uri}'");
        }
    }

    /// <summary>Lets go of the sockets of earlier listeners that nothing has taken and nothing waits for.</summary>
    /// <param name="awaited">Addresses of listeners that are still to come; their clients wait.</param>
    public void ReleaseAllBut(IEnumerable<NbdUri> awaited)
    {
        HashSet<string?> names = [.. awaited.Select(NameOf)];
        foreach (string name in inherited.Unclaimed.Where(name => !names.Contains(name)))
        {
            // A listener may have taken it meanwhile.
            if (inherited.Claim(name) is { } socket)
            {
                socket.Dispose();
                TryTell(() => notifier.Remove(name), "systemd keeps a socket that no disk has");
            }
        }
    }

    private static string? NameOf(NbdUri uri) => uri.IsUnix
        ? DescriptorNames.OfSocketFile(Path.GetFullPath(uri.SocketPath))
        : DescriptorNames.OfPort(uri.Host, uri.Port);

    private static string AddressOf(NbdUri uri) => uri.IsUnix
        ? Path.GetFullPath(uri.SocketPath)
        : new DnsEndPoint(uri.Host.Length == 0 ? "localhost" : uri.Host, uri.Port).ToString();

    private bool TryTell(Action tell, string consequence)
    {
        try
        {
            tell();
            return true;
        }
        catch (BlockException e)
        {
            log.Say($"{consequence}: {e.Message}");
            return false;
        }
    }
}
