// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Qemu.Graph;

namespace Fleece.Qemu.Sessions;

/// <summary>What can be told of a session whose snapshot QEMU keeps: QEMU tells neither how much temp holds nor why a snapshot was
/// lost.</summary>
internal static class SessionStory
{
    // A copy needs a cluster at a time, and several run at once.
    private const long LittleRoomBytes = 16 * 1024 * 1024;

    /// <summary>Bytes of storage that the file with old data takes now; 0 where it is gone.</summary>
    public static long TempBytesOf(FleecedDisk disk) =>
        FileSystemSpace.TryGetAllocatedBytes(disk.TempPath, out long bytes) ? bytes : 0;

    /// <summary>Why the snapshot was probably lost.</summary>
    /// <param name="failure">What the connection to the export says.</param>
    /// <param name="disk">The disk.</param>
    /// <param name="copyTimeout">How long a copy could take; null for no limit.</param>
    public static string CauseOf(BlockException failure, FleecedDisk disk, TimeSpan? copyTimeout)
    {
        if (failure.Kind != BlockErrors.Broken)
        {
            return "QEMU ended, or closed the export. Stop the session, and start a new one when the guest runs.";
        }

        const string what = "QEMU refuses what the snapshot should have: old data could not be copied, so the guest's write went on " +
            "without. QEMU does not tell why. ";
        bool isKnown = FileSystemSpace.TryGetFreeBytes(disk.TempPath, out long freeBytes);
        string room = $"the file system of '{disk.TempPath}' has {freeBytes} bytes left";
        return what + (isKnown, copyTimeout) switch
        {
            (true, _) when freeBytes < LittleRoomBytes =>
                $"Most likely temp is full: {room}. Name a folder with more room with -TempPath, or consume the snapshot faster.",
            (true, { } limit) => $"Most likely a copy took longer than -CopyTimeout {limit}: {char.ToUpperInvariant(room[0])}{room[1..]}.",
            (true, null) => $"Temp is not full now, for {room}. Look for errors of its storage.",
            _ => "Look whether temp's file system is full, and for errors of its storage.",
        };
    }

    /// <summary>The identity of the instant for one disk of a session. The session's part of it is the same for all its disks, and the
    /// whole differs.</summary>
    /// <param name="instantId">The session's.</param>
    /// <param name="diskIndex">The disk.</param>
    public static Guid InstantOf(Guid instantId, int diskIndex)
    {
        Span<byte> bytes = stackalloc byte[16];
        _ = instantId.TryWriteBytes(bytes, bigEndian: true, out _);
        bytes[15] ^= (byte)diskIndex;
        bytes[14] ^= (byte)(diskIndex >> 8);
        return new Guid(bytes, bigEndian: true);
    }
}
