// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;

namespace Fleece;

/// <summary>Tells the user how the mount of a disk has found it.</summary>
internal static class DiskNotes
{
    /// <summary>Warns of each note.</summary>
    public static void Tell(FleeceCommand command, DiskInfo disk)
    {
        foreach (string note in disk.Notes)
        {
            command.WriteWarning($"{disk.Name}: {note}");
        }
    }
}
