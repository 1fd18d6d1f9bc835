// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2.Changing;

/// <summary>Makes L2 tables ready for changes, and changes their entries.</summary>
/// <remarks>
/// A table that a snapshot uses too is moved to a place of its own before its first change, and a table that is missing is
/// added. A slice that its refcounts contradict is never changed.
/// <para>Threading. Only under the metadata lock.</para>
/// </remarks>
internal sealed class WritableTables(MetadataFile file, Qcow2Header header, MappingTables tables, HostClusters hosts)
{
    private readonly ClusterAddressing _addressing = new(header);

    /// <summary>The metadata lock.</summary>
    public Lock Sync => tables.Sync;

    /// <summary>The error of a change that meets an entry which contradicts the format.</summary>
    public BlockException Unusable(long offsetBytes) => Qcow2Fault.UnusableEntry(file.Path, offsetBytes);

    /// <summary>The slice to change, of a table that only the disk uses.</summary>
    /// <exception cref="BlockException">Corrupt: refcounts contradict the slice; errors of the file.</exception>
    public L2Slice FindOrAdd(long offsetBytes)
    {
        int l1Index = _addressing.L1Index(offsetBytes);
        if (tables.L1Entry(l1Index) == 0)
        {
            tables.PointL1At(l1Index, hosts.TakeOne());
        }

        L2Slice slice = tables.FindSliceLocked(offsetBytes)!;
        EnsureIsSole(slice);
        return slice;
    }

    /// <summary>Moves a slice's table to a place of its own when a snapshot uses it.</summary>
    /// <inheritdoc cref="FindOrAdd"/>
    public void EnsureIsSole(L2Slice slice)
    {
        int l1Index = _addressing.L1Index(slice);
        ulong l1Entry = tables.L1Entry(l1Index);
        long tableOffsetBytes = L2Entry.HostOffset(l1Entry);
        if (slice.RefcountFault is { } fault)
        {
            throw Qcow2Fault.Contradicted(file.Path, fault, tableOffsetBytes);
        }

        if ((l1Entry & L2Entry.Copied) != 0)
        {
            return;
        }

        if (hosts.CountOf(tableOffsetBytes, _addressing.GuestOffset(slice, 0)) == 1)
        {
            tables.MarkL1Copied(l1Index);
            return;
        }

        // None of its slices has changed, so the file holds all of the table. The copy is durable before the L1 entry is
        // written, by the flush that everything newly allocated gets.
        byte[] table = new byte[header.ClusterBytes];
        file.Read(tableOffsetBytes, table);
        long copyOffsetBytes = hosts.TakeOne();
        file.Write(copyOffsetBytes, table);
        tables.PointL1At(l1Index, copyOffsetBytes);
        hosts.FreeCluster(tableOffsetBytes >> header.ClusterBits);
    }

    /// <summary>Changes an entry of a slice whose table only the disk uses.</summary>
    public void Set(L2Slice slice, int index, L2Descriptor descriptor) => tables.Set(slice, index, descriptor);
}
