// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.Benchmarks;

#pragma warning disable CA1001 // A benchmark class ends with its GlobalCleanup, which disposes them.

/// <summary>Requests of 4 KiB scattered over an image of 1 GiB, as a guest makes them of a mounted image.</summary>
[MemoryDiagnoser]
public class ImageBenchmarks
{
    private const int Requests = 8192;
    private const int RequestBytes = 4096;
    private const long SizeBytes = 1L << 30;

    private readonly byte[] _data = new byte[RequestBytes];
    private readonly long[] _offsetsBytes = new long[Requests];
    private BenchmarkFiles? _files;
    private string _path = string.Empty;
    private IBlockNode? _image;

    /// <summary>The format.</summary>
    [Params(ImageFormat.Qcow2, ImageFormat.Vhd, ImageFormat.Vhdx)]
    public ImageFormat Format { get; set; }

    /// <summary>True for an image over an empty parent of the same format.</summary>
    [Params(false, true)]
    public bool HasParent { get; set; }

    /// <summary>An image in which every place that is asked for is stored.</summary>
    [GlobalSetup]
    public async Task SetupAsync()
    {
        _files = new BenchmarkFiles();
        FileNode place = _files.Create("place", RequestBytes);
        await _files.RemoveAsync(place);
        _path = place.Path;
        string? parentPath = HasParent ? _path + "-parent" : null;
        if (parentPath is not null)
        {
            await Image.CreateAsync(parentPath, new ImageCreateOptions { Format = Format, SizeBytes = SizeBytes });
        }

        for (int i = 0; i < Requests; i++)
        {
            _offsetsBytes[i] = i * (SizeBytes / Requests);
        }

        new Random(1).Shuffle(_offsetsBytes);
        await RenewAsync();
        await WriteAsync();
    }

    /// <summary>An image that stores nothing.</summary>
    [IterationSetup(Target = nameof(AllocatingWriteAsync))]
    public void Renew() => RenewAsync().GetAwaiter().GetResult();

    /// <summary>Each write finds its place.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = Requests)]
    public Task WriteAsync() => WriteAllAsync();

    /// <summary>Each write, or the first one in each block, makes its place.</summary>
    [Benchmark(OperationsPerInvoke = Requests)]
    public Task AllocatingWriteAsync() => WriteAllAsync();

    /// <summary>Reads what is stored.</summary>
    [Benchmark(OperationsPerInvoke = Requests)]
    public async Task ReadAsync()
    {
        foreach (long offsetBytes in _offsetsBytes)
        {
            await _image!.ReadAsync(offsetBytes, _data, CancellationToken.None);
        }
    }

    /// <summary>Asks whether it is.</summary>
    [Benchmark(OperationsPerInvoke = Requests)]
    public async Task StatusAsync()
    {
        foreach (long offsetBytes in _offsetsBytes)
        {
            _ = await _image!.GetStatusAsync(offsetBytes, RequestBytes, CancellationToken.None);
        }
    }

    /// <summary>Ends it.</summary>
    [GlobalCleanup]
    public async Task CleanupAsync()
    {
        await _image!.DisposeAsync();
        await _files!.DisposeAsync();
    }

    private async Task WriteAllAsync()
    {
        foreach (long offsetBytes in _offsetsBytes)
        {
            await _image!.WriteAsync(offsetBytes, _data, WriteFlags.None, CancellationToken.None);
        }
    }

    private async Task RenewAsync()
    {
        if (_image is not null)
        {
            await _image.DisposeAsync();
            File.Delete(_path);
        }

        await Image.CreateAsync(_path, new ImageCreateOptions
        {
            Format = Format,
            SizeBytes = SizeBytes,
            ParentPath = HasParent ? _path + "-parent" : null,
            ParentFormat = HasParent ? Format : null,
        });
        (_image, _) = await Image.OpenAsync(_path, new ImageOpenOptions { Format = Format, IsTransient = true });
    }
}
