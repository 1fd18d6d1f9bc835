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

    /// <summary>Refuses a bitmap that a session of this process has pinned.</summary>
    /// <param name="qmpSocketPath">The guest.</param>
    /// <param name="diskName">The disk.</param>
    /// <param name="bitmap">The bitmap, by the name that the user gave or by QEMU's; null for none.</param>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapBusy"/></exception>
    public void CheckPinned(string qmpSocketPath, string diskName, string? bitmap)
    {
        if (bitmap is not null && Array.Find(_all, session => IsOf(session, qmpSocketPath, diskName) && HasPinned(session, bitmap))
            is { } running)
        {
            throw new BlockException(
                DiskErrors.BitmapBusy,
                $"The bitmap '{PrintableText.Of(bitmap)}' of the disk '{diskName}' is in use: the session '{running.Id}' has pinned it. " +
                $"Let the backup that reads it end, or stop it with Stop-FleeceSession {PowerShellText.Argument(running.Id)}.",
                qmpSocketPath);
        }
    }

    /// <summary>Refuses a name that another session of a disk has.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.SessionNameInUse"/></exception>
    public void CheckFree(string qmpSocketPath, string diskName, string name)
    {
        string id = $"{diskName}/{name}";
        if (Array.Find(_all, session => string.Equals(session.Id, id, StringComparison.OrdinalIgnoreCase)) is { } running)
        {
            throw new BlockException(
                DiskErrors.SessionNameInUse,
                (running.QmpSocketPath == qmpSocketPath
                    ? $"The disk '{diskName}' has a session named '{name}' already, which began {running.StartedAt:u}. "
                    : $"Another guest, that of the QMP socket '{running.QmpSocketPath}', has a disk '{diskName}' too, and that has a " +
                        $"session named '{name}', which began {running.StartedAt:u}. Give each guest a -name of its own in QEMU. ") +
                $"Let the backup that reads it end, or stop it with Stop-FleeceSession {PowerShellText.Argument(running.Id)}; " +
                "Start-FleeceSession takes another -Name.");
        }
    }

    private static bool IsOf(QemuSession session, string qmpSocketPath, string diskName) =>
        session.QmpSocketPath == qmpSocketPath && session.DiskName == diskName;

    private static bool HasPinned(QemuSession session, string bitmap) => session.Turn?.Pinned is { } pinned &&
        (pinned.ExactName == bitmap || string.Equals(pinned.Name, PrintableText.Of(bitmap), StringComparison.OrdinalIgnoreCase));

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
