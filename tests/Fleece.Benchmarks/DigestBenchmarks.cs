// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Fleece.Backups.Reading;
using Fleece.Backups.Writing;
using Fleece.Block;

namespace Fleece.Benchmarks;

/// <summary>Digesting 256 MiB in chunks of 1 MiB, which nobody reads or stores meanwhile.</summary>
public class DigestBenchmarks
{
    private const int ChunkBytes = 1024 * 1024;
    private const int Chunks = 256;

    private readonly byte[] _data = new byte[ChunkBytes];

    /// <summary>How many threads share the work.</summary>
    [Params(1, 2, 4)]
    public int Threads { get; set; }

    /// <summary>What is digested does not matter to SHA-256.</summary>
    [GlobalSetup]
    public void Setup() => new Random(1).NextBytes(_data);

    /// <summary>All chunks, in order.</summary>
    [Benchmark]
    public async Task DigestAsync()
    {
        using ContentRecorder recorder = new("Digests", Threads, static _ => default, CancellationToken.None);
        for (int i = 0; i < Chunks; i++)
        {
            SnapshotChunk chunk = new(null!, new BlockRange(i * (long)ChunkBytes, ChunkBytes), _data, null, consumes: false);
            await recorder.WriterFor(chunk).WriteAsync(chunk).ConfigureAwait(false);
        }

        recorder.Close();
        await recorder.Ended.ConfigureAwait(false);
    }
}
