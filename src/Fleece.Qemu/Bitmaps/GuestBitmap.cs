// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Names;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Bitmaps;

/// <summary>A dirty bitmap of a guest's disk, as QEMU described it a moment ago.</summary>
/// <param name="DiskName">The disk, for messages.</param>
/// <param name="Node">The node that has it.</param>
/// <param name="Reply">What QEMU said.</param>
/// <param name="Parsed">What its name says.</param>
/// <param name="Successor">The bitmap that records for it while a session has pinned it; null for none.</param>
internal sealed record GuestBitmap(
    string DiskName, QemuNodeReply Node, QemuBitmapReply Reply, QemuBitmapName Parsed, QemuBitmapReply? Successor)
{
    /// <summary>The name that users give, printable.</summary>
    public string Name => PrintableText.Of(Parsed.Name);

    /// <summary>QEMU's name.</summary>
    public string ExactName => Reply.Name;

    /// <summary>True when it records changes, or its successor does. One that is inconsistent did until QEMU
    /// ended, so it does not count as disabled.</summary>
    public bool IsEnabled => Reply.IsInconsistent || Reply.IsRecording || Successor is not null;

    /// <summary>Why it can't be trusted; null when it can.</summary>
    public string? Fault => Reply.IsInconsistent
        ? "The QEMU that recorded it was killed, or its system crashed, before QEMU could store it, so it may miss changes."
        : null;

    /// <summary>As a job sees it.</summary>
    public BitmapDescription Describe() =>
        new(Name, ExactName, ParentPath: null, Parsed.InstantId, IsEnabled, Fault, Node.Name, Node.SizeBytes);

    /// <summary>Refuses one that a session, a job or an export uses.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapBusy"/></exception>
    public void CheckFree()
    {
        if (Successor is not null || Reply.IsBusy)
        {
            throw new BlockException(
                DiskErrors.BitmapBusy,
                $"The bitmap '{Name}' of the disk '{DiskName}' is in use: " +
                (Successor is not null
                    ? "a session of Fleece has pinned it. Let the backup that reads the session end, or stop it with Stop-FleeceSession."
                    : "a job or an export of the guest's QEMU uses it, or a session of another process of Fleece. Let that end, or name " +
                        "another bitmap."));
        }
    }

    /// <summary>Refuses one that may miss changes.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapUntrusted"/></exception>
    public void CheckTrusted()
    {
        if (Fault is { } fault)
        {
            throw new BlockException(
                DiskErrors.BitmapUntrusted,
                $"The bitmap '{Name}' of the disk '{DiskName}' can't be trusted. {fault} Remove it with QMP's block-dirty-bitmap-remove " +
                "and begin anew with a session that has -NextBitmap alone, whose backup is a full one. A job does so by itself.");
        }
    }
}
