// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>The disk, the ranges and the steps of the conformance list, section 4.1 of its table.</summary>
internal sealed class Fleecing
{
    public const long DiskBytes = 64 * MiB;

    private const int KiB = 1024;
    private const int MiB = 1024 * KiB;

    /// <summary>What the disk holds before the instant.</summary>
    public static readonly (BlockRange Range, byte Value)[] Data =
    [
        (new(0, 64 * KiB), 0x11),
        (new(MiB, 64 * KiB), 0x22),
        (new(32 * MiB, 64 * KiB), 0x33),
        (new(0x3ff0000, 64 * KiB), 0x44),
    ];

    /// <summary>Zeros at the instant; outside the bitmap where there is one.</summary>
    public static readonly BlockRange[] NeverWritten =
        [new(0xf8000, 32 * KiB), new(0x2010000, 32 * KiB), new(0x3fe0000, 64 * KiB)];

    /// <summary>What the guest does during the session: full, partial left, partial right, adjacent.</summary>
    public static readonly (BlockRange Range, byte Value)[] Overwrites =
    [
        (new(0, 64 * KiB), 0xA1),
        (new(0xf8000, 64 * KiB), 0xA2),
        (new(0x2008000, 64 * KiB), 0xA3),
        (new(0x3fe0000, 64 * KiB), 0xA4),
    ];

    /// <summary>Data that no overwrite touches.</summary>
    public static readonly (BlockRange Range, byte Value)[] Remainder =
    [
        (new(0x108000, 32 * KiB), 0x22),
        (new(32 * MiB, 32 * KiB), 0x33),
        (new(0x3ff0000, 64 * KiB), 0x44),
    ];

    public Fleecing(bool hasBitmap, CopyErrorPolicy policy = CopyErrorPolicy.BreakSnapshot)
    {
        Disk = new MemoryNode(DiskBytes);
        Temp = new RecordingNode(new MemoryNode(DiskBytes));
        foreach ((BlockRange range, byte value) in Data)
        {
            Fill(Disk, range, value);
        }

        Point = new PointInTime(
            Disk, Temp, tempReadsAsZero: true, policy: policy, ranges: hasBitmap ? Data.Select(d => d.Range) : null);
    }

    public MemoryNode Disk { get; }

    public RecordingNode Temp { get; }

    public PointInTime Point { get; }

    public IBlockNode Snapshot => Point.Snapshot;

    /// <summary>F3: the guest overwrites.</summary>
    public void Overwrite()
    {
        foreach ((BlockRange range, byte value) in Overwrites)
        {
            Fill(Point.Filter, range, value);
        }
    }

    public static void Fill(IBlockNode node, BlockRange range, byte value)
    {
        byte[] data = new byte[range.LengthBytes];
        data.AsSpan().Fill(value);
        Task write = node.WriteAsync(range.OffsetBytes, data, WriteFlags.None, CancellationToken.None).AsTask();
        write.GetAwaiter().GetResult();
    }

    public static async Task AssertHoldsAsync(IBlockNode node, BlockRange range, byte value)
    {
        byte[] read = new byte[range.LengthBytes];
        await node.ReadAsync(range.OffsetBytes, read, CancellationToken.None);
        int wrong = read.AsSpan().IndexOfAnyExcept(value);
        Assert.True(wrong < 0, $"offset {range.OffsetBytes + wrong} is not {value:x2}");
    }

    public static async Task AssertRefusedAsync(string kind, IBlockNode node, BlockRange range)
    {
        BlockException refused = await Assert.ThrowsAsync<BlockException>(
            async () => await node.ReadAsync(range.OffsetBytes, new byte[range.LengthBytes], CancellationToken.None));
        Assert.Equal(kind, refused.Kind);
    }
}
