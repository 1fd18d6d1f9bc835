// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>Several consumers of one point in time: a granule goes when all of them have confirmed it.</summary>
public sealed class ConsumersTests : IAsyncDisposable
{
    private const int G = 65536;
    private const int Granules = 32;
    private const int DiskBytes = Granules * G;

    private readonly MemoryNode _disk = new(DiskBytes);
    private readonly MemoryNode _temp = new(DiskBytes);
    private readonly BlockRange _all = new(0, DiskBytes);

    [Fact]
    public async Task Temp_is_freed_when_the_last_consumer_has_confirmed()
    {
        PointInTime point = Start("local", "offsite");
        Fleecing.Fill(point.Filter, _all, 0xA1);

        await ConfirmAsync(point.Consumers[0], _all);
        Assert.Equal(DiskBytes, _temp.AllocatedBytes);
        Assert.Equal(0, point.ConsumedBytes);

        await ConfirmAsync(point.Consumers[1], new BlockRange(0, 8 * G));
        Assert.Equal(DiskBytes - 8 * G, _temp.AllocatedBytes);
        Assert.Equal(DiskBytes - 8 * G, point.TempUsedBytes);

        await ConfirmAsync(point.Consumers[1], _all);
        Assert.Equal(0, _temp.AllocatedBytes);
        Assert.Equal(DiskBytes, point.ConsumedBytes);
    }

    [Fact]
    public async Task What_one_has_confirmed_is_still_copied_for_the_other_and_what_all_have_is_not()
    {
        PointInTime point = Start("local", "offsite");
        await ConfirmAsync(point.Consumers[0], new BlockRange(0, 2 * G));
        await ConfirmAsync(point.Consumers[1], new BlockRange(0, G));

        Fleecing.Fill(point.Filter, new BlockRange(0, 2 * G), 0xA1);

        Assert.Equal(G, point.CopiedBytes);
        await Fleecing.AssertHoldsAsync(point.Consumers[1].Snapshot, new BlockRange(G, G), 0x11);
    }

    [Fact]
    public async Task What_a_consumer_has_confirmed_is_refused_to_it_alone()
    {
        PointInTime point = Start("local", "offsite");
        await ConfirmAsync(point.Consumers[0], new BlockRange(G, G));

        BlockException refused = await Assert.ThrowsAsync<BlockException>(async () =>
            await point.Consumers[0].Snapshot.ReadAsync(0, new byte[3 * G], CancellationToken.None));

        Assert.Equal(BlockErrors.Consumed, refused.Kind);
        Assert.Contains("The consumer 'local' has confirmed the snapshot at offset 65536", refused.Message, StringComparison.Ordinal);
        await Fleecing.AssertHoldsAsync(point.Consumers[0].Snapshot, new BlockRange(0, G), 0x11);
        await Fleecing.AssertHoldsAsync(point.Consumers[1].Snapshot, _all, 0x11);
        await Fleecing.AssertHoldsAsync(point.Snapshot, _all, 0x11);
        Assert.Equal(
            [SnapshotRunState.Untouched, SnapshotRunState.Consumed, SnapshotRunState.Untouched],
            States(point.Consumers[0].Snapshot));
        Assert.Equal([SnapshotRunState.Untouched], States(point.Consumers[1].Snapshot));
        Assert.Equal(new BlockRange(2 * G, DiskBytes - 2 * G), point.Consumers[0].Snapshot.NextReadable(G, DiskBytes));
    }

    [Fact]
    public async Task What_all_have_confirmed_is_consumed_for_everybody()
    {
        PointInTime point = Start("local", "offsite");
        await ConfirmAsync(point.Consumers[0], _all);
        await ConfirmAsync(point.Consumers[1], new BlockRange(0, G));

        await Fleecing.AssertRefusedAsync(BlockErrors.Consumed, point.Snapshot, new BlockRange(0, G));
        await Fleecing.AssertRefusedAsync(BlockErrors.Consumed, point.Consumers[1].Snapshot, new BlockRange(0, G));
        await Fleecing.AssertHoldsAsync(point.Snapshot, new BlockRange(G, DiskBytes - G), 0x11);
    }

    // Of a consumer that confirms while its own read runs, that read must not get what it no longer owns.
    [Fact]
    public async Task A_read_during_which_its_consumer_confirms_is_refused()
    {
        HoldNode disk = new(_disk);
        PointInTime point = new(disk, _temp, tempReadsAsZero: true, granuleSizeBytes: G, consumers: ["local", "offsite"]);
        Hold held = disk.HoldNextAfter(BlockOperationKind.Read);
        Task read = point.Consumers[0].Snapshot.ReadAsync(0, new byte[G], CancellationToken.None).AsTask();
        await held.Reached;

        await ConfirmAsync(point.Consumers[0], new BlockRange(0, G));
        held.Release();

        Assert.Equal(BlockErrors.Consumed, (await Assert.ThrowsAsync<BlockException>(() => read)).Kind);
    }

    [Fact]
    public async Task Discarding_for_everybody_is_confirming_for_each()
    {
        PointInTime point = Start("local", "offsite");
        await ConfirmAsync(point.Consumers[0], new BlockRange(0, 2 * G));

        await point.Snapshot.DiscardAsync(G, 2 * G, CancellationToken.None);

        Assert.Equal(2 * G, point.ConsumedBytes);
        Assert.Equal([3 * G, 2 * G], point.Consumers.Select(consumer => consumer.ConfirmedBytes));
        await ConfirmAsync(point.Consumers[1], new BlockRange(0, G));
        Assert.Equal(3 * G, point.ConsumedBytes);
    }

    [Fact]
    public async Task What_is_denied_stays_so_and_counts_for_nobody()
    {
        Fleecing.Fill(_disk, _all, 0x11);
        PointInTime point = new(
            _disk,
            _temp,
            tempReadsAsZero: true,
            granuleSizeBytes: G,
            ranges: [new BlockRange(2 * G, 3 * G), new BlockRange(DiskBytes - 1, 1)],
            consumers: ["local", "offsite"]);
        Assert.Equal(4 * G, point.Consumers[0].RemainingBytes);

        await ConfirmAsync(point.Consumers[0], _all);

        Assert.Equal(4 * G, point.Consumers[0].ConfirmedBytes);
        Assert.Equal(0, point.Consumers[0].RemainingBytes);
        await Fleecing.AssertRefusedAsync(BlockErrors.Denied, point.Consumers[0].Snapshot, new BlockRange(0, G));
        await Fleecing.AssertRefusedAsync(BlockErrors.Consumed, point.Consumers[0].Snapshot, new BlockRange(2 * G, G));
        Assert.Equal(
            [SnapshotRunState.Denied, SnapshotRunState.Consumed, SnapshotRunState.Denied, SnapshotRunState.Consumed],
            States(point.Consumers[0].Snapshot));
        Assert.Equal(0, point.ConsumedBytes);
        await ConfirmAsync(point.Consumers[1], _all);
        Assert.Equal(4 * G, point.ConsumedBytes);
    }

    // The copy has stored its data and is not finished yet when the last consumer confirms its granules (I7).
    [Fact]
    public async Task The_last_confirmation_during_a_running_copy_gives_the_space_back()
    {
        Fleecing.Fill(_disk, _all, 0x11);
        HoldNode temp = new(_temp);
        Hold held = temp.HoldNextAfter(BlockOperationKind.Write);
        PointInTime point = new(_disk, temp, tempReadsAsZero: true, granuleSizeBytes: G, consumers: ["local", "offsite"]);
        Task write = Task.Run(() => Fleecing.Fill(point.Filter, new BlockRange(0, 4 * G), 0xA1));
        await held.Reached;

        await ConfirmAsync(point.Consumers[0], new BlockRange(0, 3 * G));
        await ConfirmAsync(point.Consumers[1], new BlockRange(G, 3 * G));
        held.Release();
        await write;

        Assert.Equal(2 * G, _temp.AllocatedBytes);
        Assert.Equal(2 * G, point.TempUsedBytes);
        await Fleecing.AssertHoldsAsync(point.Snapshot, new BlockRange(0, G), 0x11);
    }

    // Giving back fails, and yet nobody may be told that the range can still be read.
    [Fact]
    public async Task What_all_have_confirmed_is_consumed_also_when_its_space_can_not_be_given_back()
    {
        Fleecing.Fill(_disk, _all, 0x11);
        FaultNode temp = new FaultNode(_temp).FailNth(BlockOperationKind.Discard, 1);
        PointInTime point = new(_disk, temp, tempReadsAsZero: true, granuleSizeBytes: G, consumers: ["local", "offsite"]);
        Fleecing.Fill(point.Filter, _all, 0xA1);
        await ConfirmAsync(point.Consumers[0], new BlockRange(0, G));
        await ConfirmAsync(point.Consumers[0], new BlockRange(2 * G, G));

        await Assert.ThrowsAsync<BlockException>(() => ConfirmAsync(point.Consumers[1], _all));

        Assert.Equal(2 * G, point.ConsumedBytes);
        await Fleecing.AssertRefusedAsync(BlockErrors.Consumed, point.Snapshot, new BlockRange(2 * G, G));
    }

    // 32768 granules are a page of a map.
    [Fact]
    public async Task Confirmations_meet_across_the_pages_of_the_maps()
    {
        const int Sector = 512;
        const long Page = 32768L * Sector;
        PointInTime point = new(
            new MemoryNode(3 * Page + Sector), new MemoryNode(3 * Page + Sector), granuleSizeBytes: Sector, consumers: ["a", "b", "c"]);
        BlockRange[] islands = [new(Page - Sector, 2 * Sector), new(Page + 64 * Sector, Page), new(3 * Page - Sector, 2 * Sector)];
        await ConfirmAsync(point.Consumers[0], new BlockRange(0, 3 * Page + Sector));
        foreach (BlockRange island in islands)
        {
            await ConfirmAsync(point.Consumers[1], island);
        }

        await ConfirmAsync(point.Consumers[2], new BlockRange(Page, 2 * Page));

        BlockRange[] consumed = [new(Page, Sector), islands[1], new(3 * Page - Sector, Sector)];
        Assert.Equal(
            consumed,
            point.Snapshot.GetRuns().Where(run => !run.IsReadable).Select(run => new BlockRange(run.OffsetBytes, run.LengthBytes)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(5)]
    public async Task Random_confirmations_consume_what_all_have_in_common(int count)
    {
        Seeds seeds = Seeds.FromEnvironment();
        Fleecing.Fill(_disk, _all, 0x11);
        BlockRange denied = new(seeds.Next(Granules / 2) * (long)G, seeds.Next(8) * (long)G);
        PointInTime point = new(
            _disk,
            _temp,
            tempReadsAsZero: true,
            granuleSizeBytes: G,
            ranges: [BlockRange.FromEnds(0, denied.OffsetBytes), BlockRange.FromEnds(denied.EndBytes, DiskBytes)],
            consumers: [.. Enumerable.Range(0, count).Select(i => $"consumer {i}")]);
        Fleecing.Fill(point.Filter, _all, 0xA1);
        bool[][] confirmed = [.. Enumerable.Range(0, count).Select(_ => new bool[Granules])];
        for (int step = 0; step < 300; step++)
        {
            int by = seeds.Next(count + 1);
            BlockRange range = seeds.Range(DiskBytes);
            SnapshotAccess at = by == count && seeds.Chance(10) ? point.Snapshot : point.Consumers[by %= count].Snapshot;
            await at.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
            for (int granule = 0; granule < Granules; granule++)
            {
                bool isWhole = !range.IsEmpty && range.Contains(new BlockRange(granule * (long)G, G));
                for (int i = 0; i < count; i++)
                {
                    confirmed[i][granule] |= isWhole && (by == count || by == i);
                }
            }

            await CheckAsync(point, denied, confirmed);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _disk.DisposeAsync();
        await _temp.DisposeAsync();
    }

    private PointInTime Start(params string[] consumers)
    {
        Fleecing.Fill(_disk, _all, 0x11);
        return new PointInTime(_disk, _temp, tempReadsAsZero: true, granuleSizeBytes: G, consumers: consumers);
    }

    private static async Task ConfirmAsync(SnapshotConsumer consumer, BlockRange range) =>
        await consumer.Snapshot.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);

    private static IEnumerable<SnapshotRunState> States(SnapshotAccess snapshot) => snapshot.GetRuns().Select(run => run.State);

    private async Task CheckAsync(PointInTime point, BlockRange denied, bool[][] confirmed)
    {
        bool IsDenied(int granule) => denied.Contains(new BlockRange(granule * (long)G, G));
        bool IsConsumed(int granule) => confirmed.All(mine => mine[granule]);

        int[] included = [.. Enumerable.Range(0, Granules).Where(granule => !IsDenied(granule))];
        Assert.Equal(included.Count(IsConsumed) * (long)G, point.ConsumedBytes);
        Assert.Equal(included.Count(granule => !IsConsumed(granule)) * (long)G, _temp.AllocatedBytes);
        Assert.Equal(_temp.AllocatedBytes, point.TempUsedBytes);
        Assert.Equal(Expect(IsConsumed), Actual(point.Snapshot));
        for (int i = 0; i < confirmed.Length; i++)
        {
            bool[] mine = confirmed[i];
            Assert.Equal(included.Count(granule => mine[granule]) * (long)G, point.Consumers[i].ConfirmedBytes);
            Assert.Equal(included.Count(granule => !mine[granule]) * (long)G, point.Consumers[i].RemainingBytes);
            Assert.Equal(Expect(granule => mine[granule]), Actual(point.Consumers[i].Snapshot));
            int readable = Array.FindIndex(included, granule => !mine[granule]);
            if (readable >= 0)
            {
                await Fleecing.AssertHoldsAsync(point.Consumers[i].Snapshot, new BlockRange(included[readable] * (long)G, G), 0x11);
            }
        }

        SnapshotRunState[] Expect(Func<int, bool> isGone) =>
            [.. Enumerable.Range(0, Granules).Select(granule =>
                IsDenied(granule) ? SnapshotRunState.Denied : isGone(granule) ? SnapshotRunState.Consumed : SnapshotRunState.Copied)];

        static SnapshotRunState[] Actual(SnapshotAccess snapshot) =>
            [.. snapshot.GetRuns().SelectMany(run => Enumerable.Repeat(run.State, (int)(run.LengthBytes / G)))];
    }
}
