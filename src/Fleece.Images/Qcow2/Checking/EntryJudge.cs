// SPDX-License-Identifier: MIT
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2.Checking;

/// <summary>What a check makes of an entry.</summary>
/// <param name="Entry">What it should be; the entry itself when nothing is wrong.</param>
/// <param name="Bitmap">The same for the allocation bitmap of an extended entry.</param>
/// <param name="Fault">What is wrong; null when nothing is.</param>
internal readonly record struct Judgement(ulong Entry, ulong Bitmap = 0, string? Fault = null);

/// <summary>Judges single L1 and L2 entries (qcow2.txt, "Cluster mapping" and "Extended L2 Entries"), whatever the refcounts
/// say.</summary>
/// <remarks>
/// An entry that leads nowhere is replaced by one that reads as zeros, where the version has such a thing, so that nothing older
/// shows through from a backing file. Bits that mean nothing are cleared.
/// </remarks>
internal sealed class EntryJudge(CheckedHeader header)
{
    private const ulong AllocatedBits = 0xffff_ffff;

    private readonly ulong _inCluster = (ulong)header.ClusterBytes - 1;
    private readonly long _l1Cluster = header.L1.OffsetBytes >> header.ClusterBits;
    private readonly long _l1EndCluster =
        (header.L1.OffsetBytes + header.L1.LengthBytes + header.ClusterBytes - 1) >> header.ClusterBits;

    /// <summary>Further clusters, beside the header's and the L1 table's, to which no entry may lead.</summary>
    public HashSet<long> Own { get; } = [];

    /// <summary>Clusters that are certainly tables: no data entry may lead there.</summary>
    public HashSet<long> CertainTables { get; } = [];

    /// <summary>Clusters that are certainly no tables: no L1 entry may lead there.</summary>
    public HashSet<long> CertainData { get; } = [];

    private string OutsideText => $"points beyond the end of the file, which has {header.FileLengthBytes} bytes";

    public Judgement JudgeL1(ulong entry)
    {
        ulong offset = entry & L2Entry.OffsetMask;
        if (entry == 0)
        {
            return new Judgement(0);
        }

        if (offset == 0)
        {
            return new Judgement(0, Fault: "has flags and no offset");
        }

        long cluster = (long)(offset >> header.ClusterBits);
        if (FindNowhere(offset, isTable: true) is { } nowhere)
        {
            return new Judgement(0, Fault: nowhere);
        }

        if (CertainData.Contains(cluster))
        {
            return new Judgement(0, Fault: "points at a cluster that holds data and no table");
        }

        ulong known = entry & (L2Entry.OffsetMask | L2Entry.Copied);
        return known == entry ? new Judgement(entry) : new Judgement(known, Fault: "has reserved bits");
    }

    public Judgement JudgeL2(ulong entry, ulong bitmap)
    {
        if ((entry | bitmap) == 0)
        {
            return default;
        }

        return (entry & L2Entry.Compressed) != 0 ? JudgeCompressed(entry, bitmap) : JudgeStandard(entry, bitmap);
    }

    private Judgement JudgeCompressed(ulong entry, ulong bitmap)
    {
        if (header.HasDataFile)
        {
            return ReadsAsZeros("is compressed, which an image with an external data file can't have");
        }

        CompressedExtent extent = CompressedExtent.FromEntry(entry, header.ClusterBits);
        if (extent.LastCluster(header.ClusterBits) >= header.FileClusters)
        {
            return ReadsAsZeros(OutsideText);
        }

        for (long cluster = extent.FirstCluster(header.ClusterBits); cluster <= extent.LastCluster(header.ClusterBits); cluster++)
        {
            if (IsOwn(cluster) || CertainTables.Contains(cluster))
            {
                return ReadsAsZeros("points at a table of the image's own");
            }
        }

        if ((entry & L2Entry.Copied) != 0)
        {
            return new Judgement(entry & ~L2Entry.Copied, 0, "has the copied flag, which compressed clusters never have");
        }

        return bitmap == 0 ? new Judgement(entry) : new Judgement(entry, 0, "is compressed and has an allocation bitmap");
    }

    private Judgement JudgeStandard(ulong entry, ulong bitmap)
    {
        bool hasZeroFlag = header.Version >= 3 && !header.HasSubclusters;
        ulong offset = entry & L2Entry.OffsetMask;
        string? nowhere = offset == 0 || header.HasDataFile ? null : FindNowhere(offset, isTable: false);
        if (nowhere is not null)
        {
            return ReadsAsZeros(nowhere);
        }

        ulong known = entry & (L2Entry.OffsetMask | L2Entry.Copied | (hasZeroFlag ? L2Entry.ZeroFlag : 0));
        if (offset == 0 && !header.HasDataFile)
        {
            if ((bitmap & AllocatedBits) != 0)
            {
                return new Judgement(0, bitmap << 32 | (bitmap & ~AllocatedBits), "has allocated subclusters and no offset");
            }

            known &= ~L2Entry.Copied;
        }

        ulong both = bitmap & (bitmap >> 32) & AllocatedBits;
        if (both != 0)
        {
            return new Judgement(known, bitmap & ~(both << 32), "has subclusters that are both allocated and zero");
        }

        if (known != entry)
        {
            string fault = offset == 0 ? "has flags and no offset"
                : header.Version < 3 && (known ^ entry) == L2Entry.ZeroFlag ? "has the zero flag, which version 2 does not know"
                : "has reserved bits";
            return new Judgement(known, bitmap, fault);
        }

        return new Judgement(entry, bitmap);
    }

    private string? FindNowhere(ulong offset, bool isTable)
    {
        long cluster = (long)(offset >> header.ClusterBits);
        return (offset & _inCluster) != 0 ? $"points at {offset}, which is not a multiple of the cluster size"
            : cluster >= header.FileClusters ? OutsideText
            : IsOwn(cluster) || (!isTable && CertainTables.Contains(cluster)) ? "points at a table of the image's own"
            : null;
    }

    private bool IsOwn(long cluster) =>
        cluster == 0 || (cluster >= _l1Cluster && cluster < _l1EndCluster) || Own.Contains(cluster);

    private Judgement ReadsAsZeros(string fault) => header.HasSubclusters
        ? new Judgement(0, ~AllocatedBits, fault)
        : new Judgement(header.Version >= 3 ? L2Entry.ZeroFlag : 0, 0, fault);
}
