// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;

namespace Fleece.Benchmarks;

/// <summary>Guest writes and snapshot reads over files in memory (set FLEECE_BENCH_DIR for another place).</summary>
/// <remarks>Ratios to <see cref="PlainWriteAsync"/> say what a session costs; the absolute figures are the machine's.</remarks>
[MemoryDiagnoser]
#pragma warning disable CA1001 // A benchmark class ends with its GlobalCleanup, which disposes them.
public class CopyBeforeWriteBenchmarks
{
    private const long DiskBytes = 1L << 30;

    private byte[] _data = [];
    private BenchmarkFiles? _files;
    private FileNode? _active;
    private FileNode? _temp;
    private BlockDevice? _device;
    private PointInTime? _point;
    private long _at;

    /// <summary>Size of a request in bytes.</summary>
    [Params(4096, 65536)]
    public int RequestBytes { get; set; }

    /// <summary>A disk without a session, its pages present.</summary>
    [GlobalSetup]
    public async Task SetupAsync()
    {
        _files = new BenchmarkFiles();
        _active = _files.Create("active.raw", DiskBytes);
        _data = new byte[RequestBytes];
        new Random(1).NextBytes(_data);
        for (long offsetBytes = 0; offsetBytes < DiskBytes; offsetBytes += RequestBytes)
        {
            await _active.WriteAsync(offsetBytes, _data, WriteFlags.None, CancellationToken.None);
        }

        _device = new BlockDevice(_active, "bench");
    }

    /// <summary>A session in which every granule has been copied.</summary>
    [GlobalSetup(Targets = [nameof(SettledWriteAsync), nameof(SnapshotReadFromTempAsync)])]
    public async Task SetupSettledAsync()
    {
        await SetupUntouchedAsync();
        for (long offsetBytes = 0; offsetBytes < DiskBytes; offsetBytes += RequestBytes)
        {
            await _device!.WriteAsync(offsetBytes, _data);
        }
    }

    /// <summary>A session in which nothing has been copied.</summary>
    [GlobalSetup(Targets = [nameof(SnapshotReadFromActiveAsync)])]
    public async Task SetupUntouchedAsync()
    {
        await SetupAsync();
        await StartSessionAsync();
    }

    /// <summary>A write to a disk without a session: the yardstick.</summary>
    [Benchmark(Baseline = true)]
    public ValueTask PlainWriteAsync() => _device!.WriteAsync(NextOffset(), _data);

    /// <summary>A write to granules that have been copied.</summary>
    [Benchmark]
    public ValueTask SettledWriteAsync() => _device!.WriteAsync(NextOffset(), _data);

    /// <summary>A write that copies first; a new session begins whenever the disk is used up.</summary>
    [Benchmark]
    public async ValueTask FirstTouchWriteAsync()
    {
        if (_point is null || _at + RequestBytes >= DiskBytes)
        {
            await StartSessionAsync();
            _at = 0;
        }

        await _device!.WriteAsync(_at, _data);
        _at += RequestBytes;
    }

    /// <summary>A snapshot read of what the guest has not touched.</summary>
    [Benchmark]
    public ValueTask SnapshotReadFromActiveAsync() =>
        _point!.Snapshot.ReadAsync(NextOffset(), _data, CancellationToken.None);

    /// <summary>A snapshot read of what was copied.</summary>
    [Benchmark]
    public ValueTask SnapshotReadFromTempAsync() =>
        _point!.Snapshot.ReadAsync(NextOffset(), _data, CancellationToken.None);

    /// <summary>Removes the files.</summary>
    [GlobalCleanup]
    public ValueTask CleanupAsync() => _files!.DisposeAsync();

    private async Task StartSessionAsync()
    {
        if (_temp is not null)
        {
            await _files!.RemoveAsync(_temp);
        }

        _temp = _files!.Create("temp.raw", DiskBytes);
        _point = new PointInTime(_active!, _temp, tempReadsAsZero: true);
        await _device!.QuiesceAsync();
        _device.ReplaceRoot(_point.Filter);
        _device.Resume();
    }

    // A stride that is coprime to the number of requests visits all of them in a scattered order.
    private long NextOffset()
    {
        _at = (_at + (RequestBytes * 7919L)) % DiskBytes;
        return _at;
    }
}
