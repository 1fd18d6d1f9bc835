// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Fleece.Block.Files;
using Fleece.Disks;

namespace Fleece.Benchmarks;

#pragma warning disable CA1001 // A benchmark class ends with its GlobalCleanup, which disposes them.

/// <summary>A guest's first 4 KiB write to each unit of 64 KiB, with a bitmap that records it in the sidecar and without one.</summary>
[MemoryDiagnoser]
public class RecordingBenchmarks
{
    private const int Units = 16384;
    private const long UnitBytes = 64 * 1024;

    private readonly byte[] _data = new byte[4096];
    private readonly long[] _offsetsBytes = new long[Units];
    private BenchmarkFiles? _files;
    private Disk? _disk;

    /// <summary>Size of the disk: its bits take one page of the sidecar, or many.</summary>
    [Params(1, 256)]
    public int SizeGiB { get; set; }

    /// <summary>A raw disk whose written places have their storage.</summary>
    [GlobalSetup]
    public async Task SetupAsync()
    {
        _files = new BenchmarkFiles();
        FileNode file = _files.Create("vm.raw", (long)SizeGiB << 30);
        await _files.CloseAsync(file);
        _disk = await Disk.OpenAsync(file.Path);
        long stride = (_disk!.SizeBytes / UnitBytes) / Units;
        for (int i = 0; i < Units; i++)
        {
            _offsetsBytes[i] = i * stride * UnitBytes;
        }

        new Random(1).Shuffle(_offsetsBytes);
        await WriteAsync();
    }

    /// <summary>An empty bitmap.</summary>
    [IterationSetup(Target = nameof(FirstTouchAsync))]
    public void Empty()
    {
        Task task = _disk!.Bitmaps.TryFindOwn("daily") is null
            ? _disk!.Bitmaps.CreateAsync("daily").AsTask()
            : _disk!.Bitmaps.ClearAsync("daily").AsTask();
        task.GetAwaiter().GetResult();
    }

    /// <summary>No bitmap records.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = Units)]
    public Task WriteAsync() => WriteAllAsync();

    /// <summary>Each write sets a bit.</summary>
    [Benchmark(OperationsPerInvoke = Units)]
    public Task FirstTouchAsync() => WriteAllAsync();

    /// <summary>Closes everything.</summary>
    [GlobalCleanup]
    public async Task CleanupAsync()
    {
        await _disk!.DisposeAsync();
        await _files!.DisposeAsync();
    }

    private async Task WriteAllAsync()
    {
        foreach (long offsetBytes in _offsetsBytes)
        {
            await _disk!.Device.WriteAsync(offsetBytes, _data);
        }
    }
}
