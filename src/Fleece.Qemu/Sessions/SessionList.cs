// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;

namespace Fleece.Qemu.Sessions;

/// <summary>The sessions of guests' disks that run in this process.</summary>
/// <remarks>Threading. Safe from any thread.</remarks>
internal sealed class SessionList
{
    private readonly Lock _lock = new();
    private volatile QemuSession[] _all = [];

    /// <summary>All, oldest first.</summary>
    public IReadOnlyList<QemuSession> All => _all;

    /// <summary>Refuses a name that another session of a disk has.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.SessionNameInUse"/></exception>
    public void CheckFree(string diskName, string name)
    {
        string id = $"{diskName}/{name}";
        if (Array.Find(_all, session => string.Equals(session.Id, id, StringComparison.OrdinalIgnoreCase)) is { } running)
        {
            throw new BlockException(
                DiskErrors.SessionNameInUse,
                $"The disk '{diskName}' has a session named '{name}' already, which began {running.StartedAt:u}. Let the backup that " +
                $"reads it end, or stop it with Stop-FleeceSession {running.Id}; Start-FleeceSession takes another -Name.",
                running.QmpSocketPath);
        }
    }

    /// <summary>Adds sessions that have begun.</summary>
    public void Add(IReadOnlyList<QemuSession> begun)
    {
        lock (_lock)
        {
            _all = [.. _all, .. begun];
        }
    }

    /// <summary>Takes one out that has ended.</summary>
    public void Remove(QemuSession ended)
    {
        lock (_lock)
        {
            _all = Array.FindAll(_all, session => session != ended);
        }
    }
}
