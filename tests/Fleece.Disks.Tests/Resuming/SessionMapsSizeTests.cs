// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Resuming;

namespace Fleece.Disks.Tests.Resuming;

/// <summary>The maps of a disk of 64 TiB with granules of 4 KiB.</summary>
public sealed class SessionMapsSizeTests : IDisposable
{
    private const long DiskBytes = 64L << 40;
    private const long WriterBytes = 1024 * 1024;

    private readonly LogRig _rig = new();

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void Uniform_regions_cost_next_to_nothing()
    {
        PointInTimeMaps maps = new(DiskBytes / 4096, 0, isLimited: true);
        maps.Denied!.Add(new GranuleRun(0, maps.GranuleCount / 2));
        maps.AddDone(new GranuleRun(maps.GranuleCount / 2, maps.GranuleCount), hasData: true);

        CheckFile(maps, maximumBytes: 512);
    }

    [Fact]
    public void A_page_that_is_neither_empty_nor_full_costs_four_kilobytes()
    {
        const int pages = 1000;
        PointInTimeMaps maps = new(DiskBytes / 4096, 0, isLimited: false);
        for (long page = 0; page < pages; page++)
        {
            long granule = page * 500 * 32768 + 7;
            maps.AddConsumed(new GranuleRun(granule, granule + 1));
        }

        CheckFile(maps, maximumBytes: pages * (4096 + 64L));
    }

    private void CheckFile(PointInTimeMaps maps, long maximumBytes)
    {
        SessionDescription description = _rig.Describe() with { DiskSizeBytes = DiskBytes };
        string path = System.IO.Path.Combine(_rig.Path, "1.maps");
        long before = GC.GetAllocatedBytesForCurrentThread();

        SessionMapsReference reference = SessionMapsWriter.Write(path, description.Id, 1, maps, CancellationToken.None);

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, WriterBytes);
        Assert.InRange(new FileInfo(path).Length, 1, maximumBytes);
        Assert.Equal(
            LogRig.Facts(maps), LogRig.Facts(SessionMapsReader.Read(path, description, reference, out _)!));
    }
}
