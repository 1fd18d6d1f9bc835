// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>Cases W1, W2 and O1 of the conformance list: who loses when a copy fails. 1 MiB disk, full.</summary>
public sealed class PolicyConformance : IAsyncDisposable
{
    private const int DiskBytes = 1024 * 1024;

    private readonly byte[] _instant = new Seeds(1).Bytes(DiskBytes);
    private readonly HoldNode _disk = new(new MemoryNode(DiskBytes));
    private readonly FaultNode _temp = new(new MemoryNode(DiskBytes));

    [Fact]
    public async Task W1_break_snapshot_lets_the_write_through_and_later_reads_fail()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakSnapshot);

        await WriteAsync(point, 0, DiskBytes);

        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => ReadAsync(point));
        Assert.Equal(BlockErrors.Broken, refused.Kind);
        Assert.Equal(BlockErrors.IoFailed, refused.RootKind);
        Assert.Equal(SessionState.Broken, point.State);
    }

    // The guest's data is there, also behind the place that broke the session.
    [Fact]
    public async Task W1_the_guest_is_not_harmed_by_a_break()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakSnapshot);

        await WriteAsync(point, 0, DiskBytes);
        await WriteAsync(point, 4096, 100);

        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(0, DiskBytes), 0xA5);
    }

    [Fact]
    public async Task W1_the_first_cause_stays()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakSnapshot);
        await WriteAsync(point, 0, DiskBytes);

        point.Break(new BlockException(BlockErrors.NoSpace, "Another cause."));

        Assert.Equal(BlockErrors.IoFailed, point.BrokenBy!.Kind);
    }

    [Fact]
    public async Task W2_break_guest_write_fails_the_write_and_the_snapshot_stays()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite);

        BlockException failed = await Assert.ThrowsAsync<BlockException>(() => WriteAsync(point, 0, DiskBytes));

        Assert.Equal(BlockErrors.CopyFailed, failed.Kind);
        Assert.Equal(BlockErrors.IoFailed, failed.RootKind);
        Assert.Equal(_instant, await ReadAsync(point));
    }

    // A copy reads the disk when the session stops, and fails in temp afterwards: nobody needs it any more (I6).
    [Fact]
    public async Task A_copy_that_fails_after_the_session_ended_does_not_fail_the_guest()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite);
        Hold copying = _disk.HoldNext(BlockOperationKind.Read);
        Task write = WriteAsync(point, 0, DiskBytes);
        await copying.Reached;

        point.Stop();
        copying.Release();
        await write;

        Assert.Equal(1, _temp.FaultCount);
        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(0, DiskBytes), 0xA5);
    }

    // The disk is quiesced only afterwards: that would hold up every request of the guest, and not this one write.
    [Fact]
    public async Task The_end_of_a_session_waits_for_the_write_that_its_own_copy_holds_up()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite);
        Hold copying = _disk.HoldNext(BlockOperationKind.Read);
        Task write = WriteAsync(point, 0, DiskBytes);
        await copying.Reached;
        point.Stop();

        Task ended = point.HeldWritesEndedAsync();

        Assert.False(ended.IsCompleted);
        copying.Release();
        await ended;
        await write;
        Assert.True(point.HeldWritesEndedAsync().IsCompletedSuccessfully);
    }

    [Fact]
    public async Task W2_a_write_that_failed_has_changed_nothing_and_may_be_repeated()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite);
        await Assert.ThrowsAsync<BlockException>(() => WriteAsync(point, 0, DiskBytes));
        byte[] untouched = new byte[DiskBytes];
        await _disk.ReadAsync(0, untouched, CancellationToken.None);

        await WriteAsync(point, 0, DiskBytes);

        Assert.Equal(_instant, untouched);
        Assert.Equal(_instant, await ReadAsync(point));
        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(0, DiskBytes), 0xA5);
    }

    // The read has been sent to the active disk when the copy fails; the guest overwrites the very bytes under it.
    [Fact]
    public async Task O1_a_read_in_flight_when_the_snapshot_breaks_fails_with_the_cause()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakSnapshot);
        Hold held = _disk.HoldNext(BlockOperationKind.Read);
        Task<byte[]> read = ReadAsync(point);
        await held.Reached;

        await WriteAsync(point, 0, 65536);
        held.Release();

        BlockException broken = await Assert.ThrowsAsync<BlockException>(() => read);
        Assert.Equal(BlockErrors.Broken, broken.Kind);
        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(0, 65536), 0xA5);
    }

    [Fact]
    public async Task O1_a_write_that_waits_for_a_frozen_read_goes_on_when_the_session_breaks()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakSnapshot, fails: false);
        Hold held = _disk.HoldNext(BlockOperationKind.Read);
        Task<byte[]> read = ReadAsync(point);
        await held.Reached;
        Task write = WriteAsync(point, 0, 4096);
        Assert.False(write.IsCompleted);

        point.Break(new BlockException(BlockErrors.NoSpace, "Temp is full."));

        await write.WaitAsync(TimeSpan.FromMinutes(1), CancellationToken.None);
        held.Release();
        await Assert.ThrowsAsync<BlockException>(() => read);
    }

    public async ValueTask DisposeAsync()
    {
        await _disk.DisposeAsync();
        await _temp.DisposeAsync();
    }

    private async Task<PointInTime> StartAsync(CopyErrorPolicy policy, bool fails = true)
    {
        await _disk.WriteAsync(0, _instant, WriteFlags.None, CancellationToken.None);
        if (fails)
        {
            _temp.FailNth(BlockOperationKind.Write, 1, isTorn: true);
        }

        return new PointInTime(_disk, _temp, tempReadsAsZero: true, policy: policy);
    }

    private static async Task WriteAsync(PointInTime point, long offsetBytes, int lengthBytes)
    {
        byte[] data = new byte[lengthBytes];
        data.AsSpan().Fill(0xA5);
        await point.Filter.WriteAsync(offsetBytes, data, WriteFlags.None, CancellationToken.None);
    }

    private static async Task<byte[]> ReadAsync(PointInTime point)
    {
        byte[] read = new byte[DiskBytes];
        await point.Snapshot.ReadAsync(0, read, CancellationToken.None);
        return read;
    }
}
