// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>
/// A second, simple reading of the format: counts who uses which cluster and compares that with the refcounts. QEMU's
/// check is the judge of single images; this one is quick enough for thousands.
/// </summary>
internal sealed class ImageAudit
{
    private const long OffsetMask = 0x00ff_ffff_ffff_fe00;
    private const int ExtendedL2Bit = 16;

    private readonly byte[] _image;
    private readonly int _clusterBits;
    private readonly bool _isExtended;
    private readonly Dictionary<long, int> _uses = [];
    private readonly HashSet<long> _tables = [];
    private readonly HashSet<long> _copied = [];

    private ImageAudit(byte[] image)
    {
        _image = image;
        _clusterBits = (int)Word(20, 4);
        _isExtended = Word(4, 4) == 3 && (Word(72, 8) & ExtendedL2Bit) != 0;
    }

    private int ClusterBytes => 1 << _clusterBits;

    /// <summary>Fails the test when a cluster is used more often than it is counted, when a table's cluster is used twice,
    /// or when the disk may change a cluster in place that somebody else uses.</summary>
    public static void LeaksAtMost(byte[] image, string context)
    {
        ImageAudit audit = new(image);
        audit.CountUses();
        foreach ((long cluster, int uses) in audit._uses)
        {
            ulong refcount = audit.Refcount(cluster);
            bool isWrong = refcount < (ulong)uses
                || (uses != 1 && audit._tables.Contains(cluster))
                || (audit._copied.Contains(cluster) && refcount != 1);
            if (isWrong)
            {
                Assert.Fail($"cluster {cluster} has {uses} users and refcount {refcount}. {context}");
            }
        }
    }

    /// <summary>Clusters of the refcount table.</summary>
    public static long RefcountTableClusters(byte[] image) => new ImageAudit(image).Word(56, 4);

    /// <summary>Refcount blocks.</summary>
    public static int RefcountBlocks(byte[] image)
    {
        ImageAudit audit = new(image);
        int blocks = 0;
        for (long i = 0; i < audit.Word(56, 4) * audit.ClusterBytes / 8; i++)
        {
            blocks += audit.Word(audit.Word(48, 8) + (i * 8), 8) != 0 ? 1 : 0;
        }

        return blocks;
    }

    private void CountUses()
    {
        UseTable(0, 1);
        long tableBytes = Word(48, 8);
        long tableClusters = Word(56, 4);
        UseTable(tableBytes, tableClusters << _clusterBits);
        for (long i = 0; i < tableClusters * ClusterBytes / 8; i++)
        {
            long blockBytes = Word(tableBytes + (i * 8), 8);
            if (blockBytes != 0)
            {
                UseTable(blockBytes, 1);
            }
        }

        CountL1(Word(40, 8), Word(36, 4), isActive: true);
        CountSnapshots();
    }

    private void CountSnapshots()
    {
        long startBytes = Word(64, 8);
        long atBytes = startBytes;
        for (long i = Word(60, 4); i > 0; i--)
        {
            CountL1(Word(atBytes, 8), Word(atBytes + 8, 4), isActive: false);
            atBytes = (atBytes + 40 + Word(atBytes + 36, 4) + Word(atBytes + 12, 2) + Word(atBytes + 14, 2) + 7) & ~7L;
        }

        UseTable(startBytes, atBytes - startBytes);
    }

    private void CountL1(long l1Bytes, long l1Entries, bool isActive)
    {
        UseTable(l1Bytes, l1Entries * 8);
        for (long i = 0; i < l1Entries; i++)
        {
            long entry = Word(l1Bytes + (i * 8), 8);
            if (entry != 0)
            {
                Use((entry & OffsetMask) >> _clusterBits, isActive && entry < 0);
                CountL2(entry & OffsetMask, isActive);
            }
        }
    }

    private void CountL2(long l2Bytes, bool isActive)
    {
        int entryBytes = _isExtended ? 16 : 8;
        for (long at = l2Bytes; at < l2Bytes + ClusterBytes; at += entryBytes)
        {
            long entry = Word(at, 8);
            long bitmap = _isExtended ? Word(at + 8, 8) : 0;
            Assert.True((bitmap & (bitmap >>> 32) & uint.MaxValue) == 0, $"bitmap {bitmap:x16} at {at}");
            if ((entry & (1L << 62)) != 0)
            {
                UseCompressed(entry);
            }
            else if ((entry & OffsetMask) != 0)
            {
                Use((entry & OffsetMask) >> _clusterBits, isActive && entry < 0);
            }
        }
    }

    private void UseCompressed(long entry)
    {
        int offsetBits = 62 - (_clusterBits - 8);
        long offsetBytes = entry & ((1L << offsetBits) - 1);
        long moreSectors = (entry & ((1L << 62) - 1)) >> offsetBits;
        long lastByte = (offsetBytes & ~511L) + ((moreSectors + 1) * 512) - 1;
        for (long i = offsetBytes >> _clusterBits; i <= lastByte >> _clusterBits; i++)
        {
            Use(i, isCopied: false);
        }
    }

    private void UseTable(long offsetBytes, long lengthBytes)
    {
        for (long i = offsetBytes >> _clusterBits; i << _clusterBits < offsetBytes + lengthBytes; i++)
        {
            _tables.Add(i);
            Use(i, isCopied: false);
        }
    }

    private void Use(long cluster, bool isCopied)
    {
        _uses[cluster] = _uses.GetValueOrDefault(cluster) + 1;
        if (isCopied)
        {
            _copied.Add(cluster);
        }
    }

    private ulong Refcount(long cluster)
    {
        int order = Word(4, 4) == 3 ? (int)Word(96, 4) : 4;
        long perBlock = 8L << _clusterBits >> order;
        long blockBytes = cluster / perBlock < Word(56, 4) << (_clusterBits - 3)
            ? Word(Word(48, 8) + (cluster / perBlock * 8), 8)
            : 0;
        if (blockBytes == 0)
        {
            return 0;
        }

        long bit = cluster % perBlock << order;
        return order < 3
            ? (ulong)(Word(blockBytes + (bit / 8), 1) >> (int)(bit % 8)) & ((1UL << (1 << order)) - 1)
            : (ulong)Word(blockBytes + (bit / 8), 1 << (order - 3));
    }

    // Behind the end of the file there are zeros.
    private long Word(long offsetBytes, int width)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        if (offsetBytes + width <= _image.Length)
        {
            _image.AsSpan((int)offsetBytes, width).CopyTo(bytes[(8 - width)..]);
        }

        return BinaryPrimitives.ReadInt64BigEndian(bytes);
    }
}
