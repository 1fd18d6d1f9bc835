// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Mapping;

/// <summary>Reads L1 tables, the active one and those of snapshots (qcow2.txt, "Cluster mapping").</summary>
internal static class L1Table
{
    /// <summary>Reads a table whose place and length have been validated.</summary>
    /// <exception cref="Fleece.Block.BlockException">Corrupt: an entry points at no cluster of the file.</exception>
    public static ulong[] Read(IContainerFile file, Qcow2Header header, long offsetBytes, int entries)
    {
        ulong[] l1 = TableWords.Read(file, offsetBytes, entries);
        for (int i = 0; i < l1.Length; i++)
        {
            ulong entry = l1[i];
            ulong offset = entry & L2Entry.OffsetMask;
            bool isUsable = entry == 0
                || ((entry & ~(L2Entry.OffsetMask | L2Entry.Copied)) == 0
                    && offset != 0
                    && (offset & (ulong)(header.ClusterBytes - 1)) == 0
                    && offset < (ulong)header.FileEndBytes);
            if (!isUsable)
            {
                throw FormatFault.Qcow2.Corrupt(
                    file.Path,
                    $"L1 entry {i} is 0x{entry:x16}, which points at no cluster of the file of " +
                    $"{header.FileLengthBytes} bytes",
                    offsetBytes + (i * (long)sizeof(ulong)));
            }
        }

        return l1;
    }
}
