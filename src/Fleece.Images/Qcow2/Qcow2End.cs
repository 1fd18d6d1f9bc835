// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Checking;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2;

/// <summary>Where an image ends on a device that is longer: behind the last cluster that its refcounts or its header name, as in
/// QEMU.</summary>
/// <remarks>The refcounts of a dirty image do not tell, so before it is written to its mappings are followed.</remarks>
internal static class Qcow2End
{
    /// <inheritdoc cref="Chain.IImageDriver.FindEnd"/>
    public static long Find(IContainerFile file, UntrustedLimits? limits)
    {
        Qcow2Header header = Qcow2Header.Read(file);
        long endBytes = !header.IsDirty ? FindByRefcounts(file, header)
            : file.IsReadOnly ? file.GetLength()
            : FindByMappings(file, limits);

        // The last cluster of a file need not be whole.
        return endBytes - header.ClusterBytes < file.GetLength() ? Math.Min(endBytes, file.GetLength()) : endBytes;
    }

    private static long FindByRefcounts(IContainerFile file, Qcow2Header header)
    {
        long tableBytes = (long)header.RefcountTableClusters << header.ClusterBits;
        ulong[] table = TableWords.Read(file, header.RefcountTableOffsetBytes, tableBytes / sizeof(ulong));
        long endBytes = Math.Max(
            header.RefcountTableOffsetBytes + tableBytes, header.L1OffsetBytes + ((long)header.L1Entries * sizeof(ulong)));
        foreach (ulong blockOffsetBytes in table)
        {
            endBytes = Math.Max(
                endBytes, blockOffsetBytes == 0 ? 0 : (long)Math.Min(blockOffsetBytes, long.MaxValue / 2) + header.ClusterBytes);
        }

        for (int i = table.Length - 1; i >= 0; i--)
        {
            if (table[i] != 0 && (long)table[i] < file.GetLength() && FindLast(file, header, i, (long)table[i]) is { } cluster)
            {
                return BlockRange.RoundUp(Math.Max(endBytes, (cluster + 1) << header.ClusterBits), header.ClusterBytes);
            }
        }

        return BlockRange.RoundUp(endBytes, header.ClusterBytes);
    }

    private static long? FindLast(IContainerFile file, Qcow2Header header, int index, long offsetBytes)
    {
        RefcountBlock block = new(index, offsetBytes, header.ClusterBytes, header.RefcountOrder);
        file.Read(offsetBytes, block.Bytes);
        for (int i = block.Count - 1; i >= 0; i--)
        {
            if (block.Get(i) != 0)
            {
                return ((long)index * block.Count) + i;
            }
        }

        return null;
    }

    private static long FindByMappings(IContainerFile file, UntrustedLimits? limits)
    {
        CheckedHeader header = CheckedHeader.Read(file);
        CheckPass pass = UntrustedLimits.WithinCheckTime(
            limits, file.Path, time => CheckPass.Examine(file, header, time), CancellationToken.None);
        pass.Refcounts?.CountInto(pass.Uses);
        return pass.Uses.EndCluster << header.ClusterBits;
    }
}
