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
    private readonly byte[] _image;
    private readonly int _clusterBits;
    private readonly Dictionary<long, int> _uses = [];

    private ImageAudit(byte[] image)
    {
        _image = image;
        _clusterBits = (int)Word(20, 4);
    }

    /// <summary>Fails the test when a cluster is used more often than it is counted.</summary>
    public static void LeaksAtMost(byte[] image, string context)
    {
        ImageAudit audit = new(image);
        audit.CountUses();
        foreach ((long cluster, int uses) in audit._uses)
        {
            long refcount = audit.Refcount(cluster);
            if (uses != 1 || refcount < 1)
            {
                Assert.Fail($"cluster {cluster} has {uses} users and refcount {refcount}. {context}");
            }
        }
    }

    private void CountUses()
    {
        int clusterBytes = 1 << _clusterBits;
        Use(0, 1);
        long tableBytes = Word(48, 8);
        long tableClusters = Word(56, 4);
        Use(tableBytes >> _clusterBits, tableClusters);
        for (long i = 0; i < tableClusters * clusterBytes / 8; i++)
        {
            UseOffset(Word(tableBytes + (i * 8), 8));
        }

        long l1Bytes = Word(40, 8);
        long l1Entries = Word(36, 4);
        Use(l1Bytes >> _clusterBits, ((l1Entries * 8) + clusterBytes - 1) >> _clusterBits);
        for (long i = 0; i < l1Entries; i++)
        {
            long l2Bytes = Word(l1Bytes + (i * 8), 8) & 0x00ff_ffff_ffff_fe00;
            UseOffset(l2Bytes);
            for (long j = 0; l2Bytes != 0 && j < clusterBytes / 8; j++)
            {
                UseOffset(Word(l2Bytes + (j * 8), 8) & 0x00ff_ffff_ffff_fe00);
            }
        }
    }

    private void UseOffset(long offsetBytes)
    {
        if (offsetBytes != 0)
        {
            Use(offsetBytes >> _clusterBits, 1);
        }
    }

    private void Use(long cluster, long count)
    {
        for (long i = cluster; i < cluster + count; i++)
        {
            _uses[i] = _uses.GetValueOrDefault(i) + 1;
        }
    }

    // Refcounts of whole bytes only.
    private long Refcount(long cluster)
    {
        int refcountBytes = 1 << ((int)Word(96, 4) - 3);
        long perBlock = (1L << _clusterBits) / refcountBytes;
        long blockBytes = cluster / perBlock < Word(56, 4) << (_clusterBits - 3)
            ? Word(Word(48, 8) + (cluster / perBlock * 8), 8)
            : 0;
        return blockBytes == 0 ? 0 : Word(blockBytes + (cluster % perBlock * refcountBytes), refcountBytes);
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
