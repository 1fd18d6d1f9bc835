// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>Copies that were not needed, and where the next ones will be. 64 granules, each full of data.</summary>
public sealed class AvoidedCopiesTests : IAsyncDisposable
{
    private const int G = PointInTime.DefaultGranuleSizeBytes;
    private const int Granules = 64;

    private readonly MemoryNode _disk = new(Granules * G);
    private readonly MemoryNode _temp = new(Granules * G);

    public AvoidedCopiesTests() => Fleecing.Fill(_disk, new BlockRange(0, Granules * G), 7);

    [Fact]
    public async Task A_consumed_granule_counts_once_when_a_guest_first_changes_it()
    {
        PointInTime point = Start();
        await ConsumeAsync(point, 0, 10);
        Assert.Equal(0, point.Avoided.Bytes);

        await WriteAsync(point, 0, 4);
        await WriteAsync(point, 2, 4);
        await WriteAsync(point, 0, 4);

        Assert.Equal((6 * G, 0), (point.Avoided.Bytes, point.CopiedBytes));
    }

    [Fact]
    public async Task A_granule_that_was_copied_before_it_was_consumed_does_not_count()
    {
        PointInTime point = Start();
        await WriteAsync(point, 0, 4);
        await ConsumeAsync(point, 0, 8);

        await WriteAsync(point, 0, 8);

        Assert.Equal((4 * G, 4 * G), (point.Avoided.Bytes, point.CopiedBytes));
    }

    [Fact]
    public async Task What_was_denied_from_the_start_does_not_count()
    {
        PointInTime point = Start(new BlockRange(0, 32 * G));
        await ConsumeAsync(point, 30, 2);

        await WriteAsync(point, 28, 8);

        Assert.Equal((2 * G, 2 * G), (point.Avoided.Bytes, point.CopiedBytes));
        Assert.Equal(32 * G, point.IncludedBytes);
    }

    // Consumed 2 to 3 and 6 to 7, copied 4: the write needs copies of the others.
    [Fact]
    public async Task One_write_over_granules_of_all_kinds_counts_each_right()
    {
        PointInTime point = Start();
        await WriteAsync(point, 4, 1);
        await ConsumeAsync(point, 2, 2);
        await ConsumeAsync(point, 6, 2);

        await WriteAsync(point, 0, 10);

        Assert.Equal((4 * G, 6 * G), (point.Avoided.Bytes, point.CopiedBytes));
    }

    [Fact]
    public async Task Zeroes_and_discards_count_as_writes_do()
    {
        PointInTime point = Start();
        await ConsumeAsync(point, 0, 8);

        await point.Filter.WriteZeroesAsync(0, 2 * G, WriteFlags.None, CancellationToken.None);
        await point.Filter.DiscardAsync(G, 2 * G, CancellationToken.None);

        Assert.Equal(3 * G, point.Avoided.Bytes);
    }

    [Fact]
    public async Task A_session_that_is_over_counts_nothing()
    {
        PointInTime point = Start();
        await ConsumeAsync(point, 0, 8);
        point.Stop();

        await WriteAsync(point, 0, 8);

        Assert.Equal(0, point.Avoided.Bytes);
    }

    [Fact]
    public async Task What_is_untouched_behind_a_write_is_at_risk()
    {
        PointInTime point = Start();
        await WriteAsync(point, 10, 2);
        await WriteAsync(point, 40, 1);

        Assert.Equal([41 * G, 12 * G], point.Snapshot.FindAtRisk());
    }

    [Fact]
    public async Task What_is_copied_or_consumed_is_not_at_risk()
    {
        PointInTime point = Start();
        await WriteAsync(point, 10, 2);
        await ConsumeAsync(point, 12, 4);

        Assert.Equal([16 * G], point.Snapshot.FindAtRisk());
    }

    [Fact]
    public async Task Where_nothing_is_untouched_behind_a_write_the_granules_before_it_are_at_risk()
    {
        PointInTime point = Start();
        await WriteAsync(point, 60, 4);

        Assert.Equal([0L], point.Snapshot.FindAtRisk());
    }

    // The guest moves on through what is consumed already: the reader is to stay ahead of it.
    [Fact]
    public async Task The_first_write_of_a_consumed_granule_tells_where_the_guest_is()
    {
        PointInTime point = Start();
        await ConsumeAsync(point, 20, 4);
        await WriteAsync(point, 20, 1);
        await WriteAsync(point, 20, 1);

        Assert.Equal([24L * G], point.Snapshot.FindAtRisk());
    }

    [Fact]
    public async Task Nothing_is_at_risk_when_all_is_settled()
    {
        PointInTime point = Start();
        await WriteAsync(point, 0, Granules);

        Assert.Empty(point.Snapshot.FindAtRisk());
    }

    public async ValueTask DisposeAsync()
    {
        await _disk.DisposeAsync();
        await _temp.DisposeAsync();
    }

    private PointInTime Start(params BlockRange[] ranges) =>
        new(_disk, _temp, tempReadsAsZero: true, ranges: ranges.Length == 0 ? null : ranges);

    private static async Task ConsumeAsync(PointInTime point, int granule, int count) =>
        await point.Snapshot.DiscardAsync(granule * G, count * G, CancellationToken.None);

    private static async Task WriteAsync(PointInTime point, int granule, int count) =>
        await point.Filter.WriteAsync(granule * G, new byte[count * G], WriteFlags.None, CancellationToken.None);
}
