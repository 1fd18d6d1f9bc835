// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;

namespace Fleece.Benchmarks;

/// <summary>What a snapshot read of 1 MiB costs when the guest has overwritten one granule in so many.</summary>
#pragma warning disable CA1001 // A benchmark class ends with its GlobalCleanup, which disposes them.
public class FragmentationBenchmarks
{
    private const int DiskBytes = 64 << 20;
    private const int ReadBytes = 1 << 20;

    private readonly byte[] _buffer = new byte[ReadBytes];
    private BenchmarkFiles? _files;
    private PointInTime? _point;
    private long _at;

    /// <summary>One granule in this many was copied; 0 for none.</summary>
    [Params(0, 256, 16, 2)]
    public int CopiedOneIn { get; set; }

    /// <summary>A disk of data, in part overwritten.</summary>
    [GlobalSetup]
    public async Task SetupAsync()
    {
        _files = new BenchmarkFiles();
        FileNode active = _files.Create("active.raw", DiskBytes);
        byte[] data = new byte[PointInTime.DefaultGranuleSizeBytes];
        new Random(1).NextBytes(data);
        for (long atBytes = 0; atBytes < DiskBytes; atBytes += data.Length)
        {
            await active.WriteAsync(atBytes, data, WriteFlags.None, CancellationToken.None);
        }

        _point = new PointInTime(active, _files.Create("temp.raw", DiskBytes), tempReadsAsZero: true);
        for (long atBytes = 0; CopiedOneIn != 0 && atBytes < DiskBytes; atBytes += (long)CopiedOneIn * data.Length)
        {
            await _point.Filter.WriteAsync(atBytes, data, WriteFlags.None, CancellationToken.None);
        }
    }

    /// <summary>A read of the next mebibyte.</summary>
    [Benchmark]
    public ValueTask ReadAsync()
    {
        _at = (_at + ReadBytes) % DiskBytes;
        return _point!.Snapshot.ReadAsync(_at, _buffer, CancellationToken.None);
    }

    /// <summary>Removes the files.</summary>
    [GlobalCleanup]
    public ValueTask CleanupAsync() => _files!.DisposeAsync();
}
