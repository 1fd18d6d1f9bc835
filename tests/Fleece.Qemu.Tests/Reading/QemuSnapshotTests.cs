// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Nbd;
using Fleece.Nbd.Server.Exports;
using Fleece.Qemu.Reading;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Reading;

/// <summary>What readers see of a snapshot that a real QEMU keeps.</summary>
public sealed class QemuSnapshotTests
{
    private const int Cluster = SnapshotRig.ClusterBytes;

    // The last cluster is partial.
    private const int DiskBytes = 32 * Cluster + 20480;

    private readonly byte[] _content = Seeds.FromEnvironment().Bytes(DiskBytes);

    public static TheoryData<string> Programs => SnapshotRig.Programs;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task A_read_over_the_border_of_a_copied_cluster_returns_the_old_bytes(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content);
        await using QemuSnapshot snapshot = await rig.OpenAsync();
        await rig.Guest.WriteZeroesAsync(4 * Cluster, Cluster, WriteFlags.None, Stop);
        byte[] read = new byte[4 * Cluster];

        await snapshot.Snapshot.ReadAsync(3 * Cluster, read, Stop);

        Assert.True(read.AsSpan().SequenceEqual(_content.AsSpan(3 * Cluster, read.Length)));
        await snapshot.Snapshot.ReadAsync(4 * Cluster, read, Stop);
        Assert.True(read.AsSpan().SequenceEqual(_content.AsSpan(4 * Cluster, read.Length)));
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task The_status_of_what_the_guest_has_zeroed_is_data(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content);
        await using QemuSnapshot snapshot = await rig.OpenAsync();
        await rig.Guest.WriteZeroesAsync(4 * Cluster, 2 * Cluster, WriteFlags.None, Stop);

        BlockStatusRun status = await snapshot.Snapshot.GetStatusAsync(4 * Cluster, 8 * Cluster, Stop);

        Assert.Equal(BlockStatus.Data, status.Status);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task Zeros_are_told_as_far_as_they_reach(string program)
    {
        _content.AsSpan(4 * Cluster, 10 * Cluster + 4096).Clear();
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content);
        await rig.Guest.WriteZeroesAsync(0, DiskBytes, WriteFlags.None, Stop);
        await rig.Guest.DiscardAsync(0, DiskBytes, Stop);
        await using QemuSnapshot snapshot = await rig.OpenAsync();
        long atBytes = 4 * Cluster + 512;

        while (await snapshot.Snapshot.GetStatusAsync(atBytes, DiskBytes - atBytes, Stop) is { ReadsAsZero: true } run)
        {
            atBytes += run.LengthBytes;
        }

        // Temp keeps what it was given in blocks of its file system, which may tell zeros behind the last whole one as data.
        Assert.InRange(atBytes, 14 * Cluster, 14 * Cluster + 4096);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task Ranges_outside_the_bitmap_are_denied_before_QEMU_is_asked(string program)
    {
        BlockRange[] dirty = [new(2 * Cluster, 3 * Cluster), new(10 * Cluster + 4096, 100), new(DiskBytes - 512, 512)];
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content, dirty);
        await using QemuSnapshot snapshot = await rig.OpenAsync();
        byte[] read = new byte[Cluster];

        BlockException straddling = await Assert.ThrowsAsync<BlockException>(
            async () => await snapshot.Snapshot.ReadAsync(4 * Cluster + 512, read, Stop));
        BlockException status = await Assert.ThrowsAsync<BlockException>(
            async () => await snapshot.Snapshot.GetStatusAsync(0, 512, Stop));
        await snapshot.Snapshot.ReadAsync(10 * Cluster, read, Stop);

        Assert.Equal(BlockErrors.Denied, straddling.Kind);
        Assert.Equal(BlockErrors.Denied, status.Kind);
        Assert.True(read.AsSpan().SequenceEqual(_content.AsSpan(10 * Cluster, Cluster)));
        Assert.Equal(
            [new(2 * Cluster, 3 * Cluster), new(10 * Cluster, Cluster), new(32 * Cluster, 20480)], snapshot.Limits!);
        Assert.Equal(new BlockRange(2 * Cluster, 3 * Cluster), snapshot.NextReadable(0, DiskBytes));
        Assert.Equal(new SnapshotRun(5 * Cluster, 5 * Cluster, SnapshotRunState.Denied), snapshot.GetRun(5 * Cluster));
        Assert.Null(snapshot.BrokenBy);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task Discards_are_rounded_inwards_and_free_temp(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content);
        await using QemuSnapshot snapshot = await rig.OpenAsync();
        await rig.Guest.WriteAsync(0, new byte[DiskBytes], WriteFlags.None, Stop);
        long before = await rig.CountTempBytesAsync();

        await snapshot.Snapshot.DiscardAsync(Cluster + 1, 10 * Cluster, Stop);

        await rig.CheckAliveAsync();
        Assert.Equal(9 * Cluster, before - await rig.CountTempBytesAsync());
        Assert.Equal(9 * Cluster, snapshot.ConsumedBytes);
        Assert.Equal(new SnapshotRun(2 * Cluster, 9 * Cluster, SnapshotRunState.Consumed), snapshot.GetRun(2 * Cluster));
        BlockException consumed = await Assert.ThrowsAsync<BlockException>(
            async () => await snapshot.Snapshot.ReadAsync(Cluster, new byte[2 * Cluster], Stop));
        Assert.Equal(BlockErrors.Consumed, consumed.Kind);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task The_last_partial_cluster_counts_as_whole_when_it_is_discarded(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content);
        await using QemuSnapshot snapshot = await rig.OpenAsync();

        await snapshot.Snapshot.DiscardAsync(31 * Cluster, DiskBytes - 31 * Cluster, Stop);

        await rig.CheckAliveAsync();
        Assert.Equal(DiskBytes - 31 * Cluster, snapshot.ConsumedBytes);
        Assert.True(snapshot.NextReadable(31 * Cluster, DiskBytes).IsEmpty);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task Clients_of_an_export_learn_what_is_refused(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content, [new BlockRange(Cluster, 3 * Cluster)]);
        await using QemuSnapshot snapshot = await rig.OpenAsync();
        await snapshot.Snapshot.DiscardAsync(3 * Cluster, Cluster, Stop);
        IStatusContext access = snapshot.Contexts.Single(context => context.Name == MetaContexts.FleeceAccess);
        IStatusContext allocation = snapshot.Contexts.Single(context => context.Name == MetaContexts.BaseAllocation);

        List<StatusExtent> runs = [];
        for (long atBytes = 0; atBytes < DiskBytes; atBytes += runs[^1].LengthBytes)
        {
            runs.Add(await access.GetExtentAsync(atBytes, DiskBytes - atBytes, Stop));
        }

        Assert.Equal(
            [
                new StatusExtent(Cluster, (uint)AccessFlags.Denied),
                new StatusExtent(2 * Cluster, (uint)AccessFlags.None),
                new StatusExtent(Cluster, (uint)AccessFlags.Consumed),
                new StatusExtent(DiskBytes - 4 * Cluster, (uint)AccessFlags.Denied),
            ],
            runs);
        Assert.Equal(new StatusExtent(Cluster, (uint)AllocationFlags.Hole), await allocation.GetExtentAsync(0, DiskBytes, Stop));
        Assert.Equal(0u, (await allocation.GetExtentAsync(Cluster, DiskBytes - Cluster, Stop)).Flags);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task A_snapshot_that_QEMU_has_lost_is_broken(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content, tempFails: true);
        await using QemuSnapshot snapshot = await rig.OpenAsync();
        await snapshot.Snapshot.ReadAsync(0, new byte[512], Stop);
        await rig.Guest.WriteAsync(0, new byte[512], WriteFlags.None, Stop);

        BlockException first = await Assert.ThrowsAsync<BlockException>(
            async () => await snapshot.Snapshot.ReadAsync(8 * Cluster, new byte[512], Stop));
        BlockException later = await Assert.ThrowsAsync<BlockException>(
            async () => await snapshot.Snapshot.GetStatusAsync(0, 512, Stop));

        Assert.Equal(BlockErrors.Broken, first.Kind);
        Assert.Equal(BlockErrors.Broken, later.Kind);
        Assert.Equal(SessionState.Broken, snapshot.State);
        Assert.Contains("EINVAL", snapshot.BrokenBy!.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task The_end_of_QEMU_ends_the_snapshot(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content);
        await using QemuSnapshot snapshot = await rig.OpenAsync();
        rig.Kill();

        BlockException failure = await Assert.ThrowsAsync<BlockException>(
            async () => await snapshot.Snapshot.ReadAsync(0, new byte[DiskBytes], Stop));

        Assert.Equal(NbdErrors.ConnectionLost, failure.Kind);
        Assert.Equal(SessionState.Broken, snapshot.State);
        Assert.True(snapshot.HasFailed);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task The_end_of_QEMU_shows_before_a_reader_meets_it(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content);
        await using QemuSnapshot snapshot = await rig.OpenAsync();
        rig.Kill();

        while (snapshot.State == SessionState.Active)
        {
            await Task.Delay(1, Stop);
        }

        Assert.Equal(SessionState.Broken, snapshot.State);
        Assert.False(snapshot.HasFailed);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task A_cancelled_read_ends_and_leaves_its_range_to_others(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content);
        await using QemuSnapshot snapshot = await rig.OpenAsync();
        byte[] read = new byte[DiskBytes];
        for (int i = 0; i < 50; i++)
        {
            using CancellationTokenSource cancel = new();
            ValueTask reading = snapshot.Snapshot.ReadAsync(0, new byte[DiskBytes], cancel.Token);
            await cancel.CancelAsync();
            await snapshot.Snapshot.ReadAsync(0, read, Stop);
            await Task.WhenAny(reading.AsTask());
        }

        await rig.CheckAliveAsync();
        Assert.True(read.AsSpan().SequenceEqual(_content));
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task A_bitmap_that_the_export_does_not_tell_of_is_an_error(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content);

        BlockException failure = await Assert.ThrowsAsync<BlockException>(async () => await QemuSnapshot.OpenAsync(
            new QemuSnapshotOptions(
                rig.UriOf("snapshot"),
                "vm/s1",
                Cluster,
                "other",
                QemuReadRules.Of(rig.Version),
                CopyErrorPolicy.BreakSnapshot),
            Stop));

        Assert.Equal(Disks.DiskErrors.BitmapUnknown, failure.Kind);
    }
}
