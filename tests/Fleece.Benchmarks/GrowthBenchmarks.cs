// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;

namespace Fleece.Benchmarks;

/// <summary>What a guest's 4 KiB write costs on larger disks and with more bitmaps, with a session: it must not grow with either.</summary>
/// <remarks>The disk is a sparse file in memory, and the guest writes within 64 MiB, scattered over all of it.</remarks>
[MemoryDiagnoser]
#pragma warning disable CA1001 // A benchmark class ends with its GlobalCleanup, which disposes them.
public class GrowthBenchmarks
{
    private const int RequestBytes = 4096;
    private const int RequestCount = 16384;

    private readonly byte[] _data = new byte[RequestBytes];
    private BenchmarkFiles? _files;
    private BlockDevice? _device;
    private long _strideBytes;
    private long _at;

    /// <summary>The disk's size in GiB, up to 64 TiB.</summary>
    [Params(1, 1024, 65536)]
    public int DiskGiB { get; set; }

    /// <summary>How many bitmaps record.</summary>
    [Params(0, 1, 8)]
    public int Bitmaps { get; set; }

    /// <summary>A session whose granules under the guest are settled.</summary>
    [GlobalSetup]
    public async Task SetupAsync()
    {
        _files = new BenchmarkFiles();
        long diskBytes = (long)DiskGiB << 30;
        FileNode active = _files.Create("active.raw", diskBytes);
        PointInTime point = new(active, _files.Create("temp.raw", diskBytes), tempReadsAsZero: true);
        DirtyTrackingNode tracking = new(point.Filter)
        {
            Recording = [.. Enumerable.Range(0, Bitmaps).Select(_ => new DirtyBitmap(diskBytes, 65536))],
        };
        _device = new BlockDevice(tracking, "bench");
        new Random(1).NextBytes(_data);
        _strideBytes = diskBytes / RequestCount;
        for (int i = 0; i < RequestCount; i++)
        {
            await SettledWriteAsync();
        }
    }

    /// <summary>A write to a settled granule.</summary>
    [Benchmark]
    public ValueTask SettledWriteAsync()
    {
        _at = (_at + 7919) % RequestCount;
        return _device!.WriteAsync(_at * _strideBytes, _data);
    }

    /// <summary>Removes the files.</summary>
    [GlobalCleanup]
    public ValueTask CleanupAsync() => _files!.DisposeAsync();
}
