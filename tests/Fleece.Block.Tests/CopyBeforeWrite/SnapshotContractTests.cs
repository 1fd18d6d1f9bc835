// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>The part of the block contract that a snapshot offers: reads, status and discards.</summary>
public sealed class SnapshotContractTests
{
    private const int DiskBytes = 1024 * 1024 + 512;

    private readonly ReferenceDisk _instant = new(DiskBytes);
    private readonly PointInTime _point;

    // A third of the disk is holes, and the guest has overwritten half of the rest.
    public SnapshotContractTests()
    {
        Seeds seeds = Seeds.FromEnvironment();
        MemoryNode disk = new(DiskBytes);
        for (int at = 0; at < DiskBytes - 2 * 65536; at += 3 * 65536)
        {
            byte[] data = seeds.Bytes(2 * 65536 - 100);
            disk.WriteAsync(at, data, WriteFlags.None, CancellationToken.None).AsTask().Wait();
            _instant.Write(at, data);
        }

        _point = new PointInTime(disk, new MemoryNode(DiskBytes), tempReadsAsZero: true);
        for (int at = 32768; at < DiskBytes - 2 * 65536; at += 2 * 65536)
        {
            Fleecing.Fill(_point.Filter, new BlockRange(at, 65536), 0xEE);
        }
    }

    private SnapshotAccess Snapshot => _point.Snapshot;

    public static TheoryData<long, int> Ranges => BlockNodeConformance.AwkwardRanges;

    [Theory]
    [MemberData(nameof(Ranges))]
    public async Task A_read_returns_the_instant(long offsetBytes, int lengthBytes)
    {
        byte[] read = new byte[lengthBytes];

        await Snapshot.ReadAsync(offsetBytes, read, CancellationToken.None);

        _instant.Check(offsetBytes, read);
    }

    [Fact]
    public async Task Status_covers_the_disk_and_what_it_calls_zero_reads_as_zero() =>
        await _instant.CheckStatusAsync(Snapshot);

    [Theory]
    [InlineData(DiskBytes, 1, BlockErrors.OutOfRange)]
    [InlineData(DiskBytes - 1, 2, BlockErrors.OutOfRange)]
    [InlineData(-1, 1, BlockErrors.InvalidRange)]
    [InlineData(long.MaxValue, 4096, BlockErrors.InvalidRange)]
    public async Task Ranges_outside_the_disk_are_refused(long offsetBytes, int lengthBytes, string kind)
    {
        await ThrowsAsync(kind, () => Snapshot.ReadAsync(offsetBytes, new byte[lengthBytes], default));
        await ThrowsAsync(kind, () => Snapshot.DiscardAsync(offsetBytes, lengthBytes, default));
        await ThrowsAsync(kind, async () => await Snapshot.GetStatusAsync(offsetBytes, lengthBytes, default));
        Assert.Equal(0, _point.ConsumedBytes);
    }

    [Fact]
    public async Task Writes_and_zeroes_are_refused_as_read_only()
    {
        await ThrowsAsync(
            BlockErrors.ReadOnly, () => Snapshot.WriteAsync(0, new byte[512], WriteFlags.None, default));
        await ThrowsAsync(
            BlockErrors.ReadOnly, () => Snapshot.WriteZeroesAsync(0, 512, WriteFlags.None, default));
        await _instant.CheckAllAsync(Snapshot);
    }

    [Fact]
    public async Task Requests_of_no_bytes_succeed_anywhere_up_to_the_end()
    {
        foreach (long at in (long[])[0, 4096, DiskBytes])
        {
            await Snapshot.ReadAsync(at, Memory<byte>.Empty, CancellationToken.None);
            await Snapshot.DiscardAsync(at, 0, CancellationToken.None);
            Assert.Equal(0, (await Snapshot.GetStatusAsync(at, 0, CancellationToken.None)).LengthBytes);
        }

        Assert.Equal(0, _point.ConsumedBytes);
    }

    // The filter and the snapshot are guests of the session: disposing them closes nothing.
    [Fact]
    public async Task Disposing_filter_and_snapshot_leaves_the_session_usable()
    {
        await Snapshot.DisposeAsync();
        await _point.Filter.DisposeAsync();

        await _instant.CheckAllAsync(Snapshot);
    }

    private static async Task ThrowsAsync(string kind, Func<ValueTask> request) =>
        Assert.Equal(kind, (await Assert.ThrowsAsync<BlockException>(async () => await request())).Kind);
}
