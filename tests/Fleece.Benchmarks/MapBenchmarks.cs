// SPDX-License-Identifier: MIT
using BenchmarkDotNet.Attributes;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Benchmarks;

/// <summary>The map test that every guest write pays: is there a granule in neither map?</summary>
[MemoryDiagnoser]
public class MapBenchmarks
{
    private const long GranuleCount = 1L << 28; // 1 TiB of 4 KiB granules.

    private readonly GranuleMap _done = new(GranuleCount);
    private readonly GranuleMap _refused = new(GranuleCount);
    private long _at;

    /// <summary>Granules of one request: 4 KiB and 64 KiB.</summary>
    [Params(1, 16)]
    public int RequestGranules { get; set; }

    /// <summary>Every other run of requests is done, so that no page is uniform.</summary>
    [GlobalSetup]
    public void Setup()
    {
        for (long start = 0; start < 1 << 20; start += 2 * RequestGranules)
        {
            _done.Add(new GranuleRun(start, start + RequestGranules));
        }
    }

    /// <summary>A request on settled granules.</summary>
    [Benchmark]
    public long Settled() => Test(0);

    /// <summary>A request on untouched granules.</summary>
    [Benchmark]
    public long Untouched() => Test(RequestGranules);

    private long Test(long shift)
    {
        _at = (_at + (2 * RequestGranules * 7)) & ((1 << 20) - 1);
        long start = _at - (_at % (2 * RequestGranules)) + shift;
        return GranuleMap.FirstInNeither(_done, _refused, new GranuleRun(start, start + RequestGranules));
    }
}
