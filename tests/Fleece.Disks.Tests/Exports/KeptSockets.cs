// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Fleece.Disks.Exports;
using Fleece.Nbd;

namespace Fleece.Disks.Tests.Exports;

/// <summary>Keeps duplicates of listening sockets, as a service manager does for the next process.</summary>
internal sealed class KeptSockets : IListenSockets, IDisposable
{
    private readonly Dictionary<string, SafeSocketHandle> _kept = [];
    private readonly HashSet<string> _taken = [];

    /// <summary>What was asked of it, in order: "take", "keep" and "remove".</summary>
    public List<string> Calls { get; } = [];

    /// <summary>True for a store that is full.</summary>
    public bool IsFull { get; init; }

    public int Count => _kept.Count;

    /// <summary>The next process begins: what is kept can be taken again.</summary>
    public void Restart()
    {
        _taken.Clear();
        Calls.Clear();
    }

    public SafeSocketHandle? Take(NbdUri uri)
    {
        Calls.Add("take");
        return _kept.TryGetValue(uri.SocketPath!, out SafeSocketHandle? kept) && _taken.Add(uri.SocketPath!) ? Duplicate(kept) : null;
    }

    public bool TryKeep(NbdUri uri, SafeSocketHandle socket)
    {
        Calls.Add("keep");
        if (!IsFull)
        {
            _kept.Add(uri.SocketPath!, Duplicate(socket));
        }

        return !IsFull;
    }

    public void Remove(NbdUri uri)
    {
        Calls.Add("remove");
        if (_kept.Remove(uri.SocketPath!, out SafeSocketHandle? kept))
        {
            kept.Dispose();
        }
    }

    public void Dispose()
    {
        foreach (SafeSocketHandle kept in _kept.Values)
        {
            kept.Dispose();
        }
    }

    private static SafeSocketHandle Duplicate(SafeSocketHandle socket) => new(Duplicate((int)socket.DangerousGetHandle()), ownsHandle: true);

    [DllImport("libc", EntryPoint = "dup")]
    private static extern int Duplicate(int descriptor);
}
