// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>Where a snapshot's reading ahead goes.</summary>
public sealed class SnapshotReadAheadTests : IAsyncDisposable
{
    private const int DiskBytes = 1024 * 1024;
    private const int GranuleBytes = 4096;

    private readonly RecordingNode _active = new(new MemoryNode(DiskBytes));
    private readonly RecordingNode _temp = new(new MemoryNode(DiskBytes));
    private readonly PointInTime _point;

    public SnapshotReadAheadTests()
    {
        Fleecing.Fill(_active, new BlockRange(0, DiskBytes), 1);
        _point = new PointInTime(_active, _temp, tempReadsAsZero: true);
    }

    public async ValueTask DisposeAsync()
    {
        await _active.DisposeAsync();
        await _temp.DisposeAsync();
    }

    [Fact]
    public void What_was_copied_is_read_ahead_in_temp_and_the_rest_on_the_disk()
    {
        Fleecing.Fill(_point.Filter, new BlockRange(4 * GranuleBytes, GranuleBytes), 2);

        _point.Snapshot.ReadAhead(512, 16 * GranuleBytes);

        Assert.Equal(
            [BlockRange.FromEnds(512, 4 * GranuleBytes), BlockRange.FromEnds(5 * GranuleBytes, 512 + 16 * GranuleBytes)],
            _active.ReadAheads);
        Assert.Equal([new BlockRange(4 * GranuleBytes, GranuleBytes)], _temp.ReadAheads);
    }

    [Fact]
    public async Task Nothing_is_read_ahead_of_a_range_that_is_refused()
    {
        await _point.Snapshot.DiscardAsync(8 * GranuleBytes, GranuleBytes, CancellationToken.None);

        _point.Snapshot.ReadAhead(0, 16 * GranuleBytes);
        _point.Snapshot.ReadAhead(8 * GranuleBytes, GranuleBytes);

        Assert.Empty(_active.ReadAheads);
    }

    [Fact]
    public void Nothing_is_read_ahead_of_a_session_that_is_over()
    {
        _point.Stop();

        _point.Snapshot.ReadAhead(0, GranuleBytes);

        Assert.Empty(_active.ReadAheads);
    }
}
