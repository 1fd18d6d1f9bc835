// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2.Checking;

/// <summary>Walks the L1 tables and then every L2 table once, in the order of the file, however many L1 entries lead to it.</summary>
/// <remarks>
/// A table that n L1 entries lead to, of the disk and of snapshots, gives each of its clusters n uses: so the time a walk takes
/// follows the size of the file, whatever the file claims.
/// <para>Threading. One thread.</para>
/// </remarks>
internal sealed class MappingWalk(IContainerFile file, CheckedHeader header, EntryJudge judge)
{
    private const int L1ChunkBytes = 64 * 1024;

    private readonly int _entryBytes = header.HasSubclusters ? 2 * sizeof(ulong) : sizeof(ulong);
    private readonly ReferenceCounts _activeTables = new();

    /// <summary>How many L1 entries lead to each L2 table.</summary>
    public ReferenceCounts Tables { get; } = new();

    /// <summary>Guest clusters of the disk with a place in the file.</summary>
    public long AllocatedCount { get; private set; }

    /// <summary>Those of them that do not follow their predecessor.</summary>
    public long FragmentedCount { get; private set; }

    /// <summary>Those of them that are compressed.</summary>
    public long CompressedCount { get; private set; }

    /// <summary>Walks an L1 table.</summary>
    /// <param name="l1">Within the file.</param>
    /// <param name="isActive">True for the disk's, false for a snapshot's, whose flags need not be right.</param>
    /// <param name="refcounts">What "copied" flags are compared with; null to leave them alone.</param>
    /// <param name="log">What is wrong.</param>
    /// <param name="isFixing">True to write what the judge says.</param>
    public void WalkL1(NamedRegion l1, bool isActive, RefcountStructures? refcounts, CheckLog log, bool isFixing) =>
        ForEachL1(l1, isFixing, (atBytes, entry) =>
        {
            Judgement judgement = judge.JudgeL1(entry);
            if (judgement.Fault is { } fault)
            {
                log.Add(FindingCause.Mapping, $"An entry of {l1.Name} is 0x{entry:x16}: it {fault}", atBytes);
            }

            ulong offset = judgement.Entry & L2Entry.OffsetMask;
            if (offset != 0)
            {
                long cluster = (long)(offset >> header.ClusterBits);
                Tables.Add(cluster, 1);
                if (isActive)
                {
                    _activeTables.Add(cluster, 1);
                    CheckCopied(refcounts, judgement.Entry, cluster, log, atBytes);
                }
            }

            return judgement.Entry;
        });

    /// <summary>Walks the L2 tables that the L1 tables led to, and counts everything.</summary>
    public void WalkL2(
        ReferenceCounts counts, RefcountStructures? refcounts, CheckLog log, bool isFixing, CancellationToken cancellationToken)
    {
        foreach ((long table, uint uses) in Tables.Used())
        {
            cancellationToken.ThrowIfCancellationRequested();
            counts.Add(table, uses);
            bool isActive = _activeTables[table] != 0;
            long nextOffset = 0;
            ForEachL2(table, isFixing, (atBytes, entry, bitmap) =>
            {
                Judgement judgement = judge.JudgeL2(entry, bitmap);
                if (judgement.Fault is { } fault)
                {
                    log.Add(
                        FindingCause.Mapping,
                        $"An entry of the L2 table at file offset {table << header.ClusterBits} is 0x{entry:x16}" +
                        (header.HasSubclusters ? $" with bitmap 0x{bitmap:x16}" : string.Empty) + $": it {fault}",
                        atBytes);
                }

                Count(counts, judgement.Entry, uses, isActive, ref nextOffset);
                if (isActive && HasCluster(judgement.Entry))
                {
                    long cluster = (long)((judgement.Entry & L2Entry.OffsetMask) >> header.ClusterBits);
                    CheckCopied(refcounts, judgement.Entry, header.HasDataFile ? -1 : cluster, log, atBytes);
                }

                return (judgement.Entry, judgement.Bitmap);
            });
        }
    }

    /// <summary>Makes the "copied" flags of the disk's tables say what the counts say; the tables are sound.</summary>
    public void FixCopied(ReferenceCounts counts)
    {
        ForEachL1(header.L1, isFixing: true, (_, entry) => WithCopied(entry, counts));
        foreach ((long table, _) in _activeTables.Used())
        {
            ForEachL2(table, isFixing: true, (_, entry, bitmap) =>
                (HasCluster(entry) ? WithCopied(entry, counts) : entry, bitmap));
        }
    }

    /// <summary>True when most of what stands in a cluster could not stand in an L2 table.</summary>
    public bool LooksLikeNoTable(long table)
    {
        int used = 0;
        int faults = 0;
        ForEachL2(table, isFixing: false, (_, entry, bitmap) =>
        {
            used += (entry | bitmap) != 0 ? 1 : 0;
            faults += judge.JudgeL2(entry, bitmap).Fault is not null ? 1 : 0;
            return (entry, bitmap);
        });
        return faults * 2 > used;
    }

    /// <summary>The same for a snapshot's L1 table.</summary>
    public bool LooksLikeNoTable(NamedRegion l1)
    {
        int used = 0;
        int faults = 0;
        ForEachL1(l1, isFixing: false, (_, entry) =>
        {
            used++;
            faults += judge.JudgeL1(entry).Fault is not null ? 1 : 0;
            return entry;
        });
        return faults * 2 > used;
    }

    private bool HasCluster(ulong entry) =>
        (entry & L2Entry.Compressed) == 0
        && ((entry & L2Entry.OffsetMask) != 0 || (header.HasDataFile && (entry & L2Entry.Copied) != 0));

    private ulong WithCopied(ulong entry, ReferenceCounts counts)
    {
        ulong offset = entry & L2Entry.OffsetMask;
        if (header.HasDataFile || offset == 0)
        {
            return entry;
        }

        return counts[(long)(offset >> header.ClusterBits)] == 1 ? entry | L2Entry.Copied : entry & ~L2Entry.Copied;
    }

    private void Count(ReferenceCounts counts, ulong entry, uint uses, bool isActive, ref long nextOffset)
    {
        if ((entry & L2Entry.Compressed) != 0)
        {
            CompressedExtent extent = CompressedExtent.FromEntry(entry, header.ClusterBits);
            for (long i = extent.FirstCluster(header.ClusterBits); i <= extent.LastCluster(header.ClusterBits); i++)
            {
                counts.Add(i, uses);
            }

            AllocatedCount += isActive ? 1 : 0;
            FragmentedCount += isActive ? 1 : 0;
            CompressedCount += isActive ? 1 : 0;
            return;
        }

        if (!HasCluster(entry))
        {
            return;
        }

        long offset = L2Entry.HostOffset(entry);
        if (!header.HasDataFile)
        {
            counts.Add(offset >> header.ClusterBits, uses);
        }

        if (isActive)
        {
            AllocatedCount++;
            FragmentedCount += nextOffset != 0 && offset != nextOffset ? 1 : 0;
            nextOffset = offset + header.ClusterBytes;
        }
    }

    // A cluster of -1 lies in an external data file, where everything counts as used once.
    private static void CheckCopied(RefcountStructures? refcounts, ulong entry, long cluster, CheckLog log, long atBytes)
    {
        if (refcounts is null)
        {
            return;
        }

        ulong refcount = cluster < 0 ? 1 : refcounts[cluster];
        if (refcount == 1 != ((entry & L2Entry.Copied) != 0))
        {
            log.Add(
                FindingCause.Copied,
                $"An entry is 0x{entry:x16} and the refcount of its cluster is {refcount}: the copied flag (bit 63) must be set " +
                "if that is 1, and only then",
                atBytes);
        }
    }

    private void ForEachL1(NamedRegion l1, bool isFixing, Func<long, ulong, ulong> visit)
    {
        byte[] chunk = new byte[(int)Math.Min(L1ChunkBytes, l1.LengthBytes)];
        for (long done = 0; done < l1.LengthBytes; done += chunk.Length)
        {
            Span<byte> bytes = chunk.AsSpan(0, (int)Math.Min(chunk.Length, l1.LengthBytes - done));
            long atBytes = l1.OffsetBytes + done;
            file.Read(atBytes, bytes);
            ChangedRange changed = default;
            for (int i = 0; i < bytes.Length; i += sizeof(ulong))
            {
                ulong entry = BinaryPrimitives.ReadUInt64BigEndian(bytes[i..]);
                ulong wanted = entry == 0 ? 0 : visit(atBytes + i, entry);
                if (wanted != entry)
                {
                    BinaryPrimitives.WriteUInt64BigEndian(bytes[i..], wanted);
                    changed.Add(i, sizeof(ulong));
                }
            }

            changed.Store(file, atBytes, bytes, isFixing);
        }
    }

    private void ForEachL2(long table, bool isFixing, Func<long, ulong, ulong, (ulong Entry, ulong Bitmap)> visit)
    {
        byte[] bytes = new byte[header.ClusterBytes];
        long atBytes = table << header.ClusterBits;
        file.Read(atBytes, bytes);
        ChangedRange changed = default;
        for (int i = 0; i < bytes.Length; i += _entryBytes)
        {
            Span<byte> at = bytes.AsSpan(i, _entryBytes);
            ulong entry = BinaryPrimitives.ReadUInt64BigEndian(at);
            ulong bitmap = header.HasSubclusters ? BinaryPrimitives.ReadUInt64BigEndian(at[sizeof(ulong)..]) : 0;
            if ((entry | bitmap) == 0)
            {
                continue;
            }

            (ulong wantedEntry, ulong wantedBitmap) = visit(atBytes + i, entry, bitmap);
            if (wantedEntry != entry || wantedBitmap != bitmap)
            {
                BinaryPrimitives.WriteUInt64BigEndian(at, wantedEntry);
                if (header.HasSubclusters)
                {
                    BinaryPrimitives.WriteUInt64BigEndian(at[sizeof(ulong)..], wantedBitmap);
                }

                changed.Add(i, _entryBytes);
            }
        }

        changed.Store(file, atBytes, bytes, isFixing);
    }

    private struct ChangedRange
    {
        private int _start;
        private int _end;

        public void Add(int at, int lengthBytes)
        {
            _start = _end == 0 ? at : _start;
            _end = at + lengthBytes;
        }

        public readonly void Store(IContainerFile file, long atBytes, ReadOnlySpan<byte> bytes, bool isFixing)
        {
            if (isFixing && _end != 0)
            {
                file.Write(atBytes + _start, bytes[_start.._end]);
            }
        }
    }
}
