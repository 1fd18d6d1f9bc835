// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Qemu.Reading;

namespace Fleece.Qemu.Tests.Reading;

public sealed class SnapshotMapTests
{
    private const int Cluster = SnapshotRig.ClusterBytes;

    [Fact]
    public void A_disk_of_64_TiB_costs_little()
    {
        Granules clusters = new(64L << 40, Cluster);
        long before = GC.GetAllocatedBytesForCurrentThread();

        SnapshotMap map = new(clusters, "vm/s1", [new BlockRange(1L << 40, Cluster)]);
        map.Consume(new GranuleRun(1L << 24, (1L << 24) + 1));

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 2 * 1024 * 1024);
        Assert.True(map.NextReadable(0, 64L << 40).IsEmpty);
        Assert.Equal(Cluster, map.ConsumedBytes);
    }

    [Fact]
    public void What_was_denied_is_not_counted_as_consumed()
    {
        SnapshotMap map = new(new Granules(9 * Cluster + 512, Cluster), "vm/s1", [new BlockRange(8 * Cluster, Cluster + 512)]);

        Assert.True(map.Consume(new GranuleRun(0, 10)));

        Assert.Equal(Cluster + 512, map.ConsumedBytes);
        Assert.Equal(SnapshotRunState.Denied, map.GetRun(0).State);
        Assert.Equal(new SnapshotRun(8 * Cluster, Cluster + 512, SnapshotRunState.Consumed), map.GetRun(8 * Cluster));
        Assert.False(map.Consume(new GranuleRun(9, 10)));
    }

    [Fact]
    public void A_disk_that_is_not_limited_has_no_limits()
    {
        SnapshotMap map = new(new Granules(9 * Cluster, Cluster), "vm/s1", null);

        Assert.Null(map.Limits);
        Assert.Equal(new SnapshotRun(0, 9 * Cluster, SnapshotRunState.Untouched), map.GetRun(0));
    }

    [Fact]
    public void A_bitmap_without_a_range_denies_all()
    {
        SnapshotMap map = new(new Granules(9 * Cluster, Cluster), "vm/s1", []);

        Assert.Equal(new SnapshotRun(0, 9 * Cluster, SnapshotRunState.Denied), map.GetRun(0));
    }
}
