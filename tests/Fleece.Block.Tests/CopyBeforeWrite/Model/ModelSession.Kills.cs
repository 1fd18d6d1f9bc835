// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite.Model;

internal sealed partial class ModelSession
{
    private readonly Lock _cutOffLock = new();
    private readonly List<(BlockRange Range, byte[] Change)> _cutOff = [];
    private Life _life = new(changes: null);

    /// <summary>The notes that outlive the process beside disk and temp; null where it is not killed.</summary>
    public RecordedJournal? Journal { get; }

    public bool IsKilled => _life.IsOver;

    public void ThrowIfKilled() => _life.ThrowIfOver();

    /// <summary>From now on the process has so many changes to live.</summary>
    public void Live(long changes) => _life = new Life(changes);

    /// <summary>A change of the guest's own range begins; null for zeros.</summary>
    public void InDoubt(BlockRange range, byte[]? change)
    {
        lock (_cutOffLock)
        {
            _cutOff.Add((range, change ?? new byte[range.LengthBytes]));
        }
    }

    /// <summary>It has ended, and all know how.</summary>
    public void Known(BlockRange range)
    {
        lock (_cutOffLock)
        {
            _cutOff.RemoveAll(change => change.Range == range);
        }
    }

    /// <summary>Another process goes on with the session, and may be killed while it resumes.</summary>
    public async Task ResumeAsync()
    {
        foreach (long? changes in new long?[] { Seeds.Next(10), null })
        {
            _life = new Life(changes);
            PointInTimeMaps maps = Journal!.ReadBack(_isDenied.Length, _consumers.Length, Options.IsLimited);
            Point = new PointInTime(
                _disk, _temp, true, Options.GranuleSizeBytes, Options.Policy, consumers: _consumers, journal: Journal, restored: maps);
            try
            {
                if (Journal.BrokenBy is { } cause)
                {
                    Point.Break(cause);
                }

                await Point.FreeConsumedAsync();
            }
            catch (KilledException)
            {
            }
        }

        await CheckResumedAsync();
    }

    private async Task CheckResumedAsync()
    {
        foreach ((BlockRange range, byte[] change) in _cutOff)
        {
            byte[] actual = new byte[range.LengthBytes];
            await _disk.ReadAsync(range.OffsetBytes, actual, CancellationToken.None);
            Guest.CheckCutOff(range.OffsetBytes, actual, change);
        }

        _cutOff.Clear();
        Assert.Equal(Journal!.BrokenBy is not null, Point.State == SessionState.Broken);
        Assert.Equal(BytesWhere(Journal.HasData), Point.CopiedBytes);
        Assert.Equal(BytesWhere(granule => Journal.HasData(granule) && !IsConsumed(granule)), Point.TempUsedBytes);
        Assert.Equal(BytesWhere(granule => !_isDenied[granule]), Point.IncludedBytes);
        Assert.Equal(BytesWhere(granule => !_isDenied[granule] && IsConsumed(granule)), Point.ConsumedBytes);
        for (int consumer = 0; consumer < _consumers.Length; consumer++)
        {
            Assert.Equal(
                BytesWhere(granule => !_isDenied[granule] && Journal.IsConfirmed(granule, consumer)),
                Point.Consumers[consumer].ConfirmedBytes);
        }

        for (long granule = 0; granule < Point.Granules.Count; granule++)
        {
            BlockRange bytes = Point.Granules.Bytes(new GranuleRun(granule, granule + 1));
            await ReadAsync(bytes);
            await ReadAsync(bytes, _consumers.Length == 0 ? null : 0);
        }
    }

    private bool IsConsumed(long granule) =>
        Journal!.IsConsumed(granule) ||
        (_consumers.Length != 0 && Enumerable.Range(0, _consumers.Length).All(consumer => Journal.IsConfirmed(granule, consumer)));

    private long BytesWhere(Func<long, bool> wanted)
    {
        long bytes = 0;
        for (long granule = 0; granule < Point.Granules.Count; granule++)
        {
            bytes += wanted(granule) ? Point.Granules.Bytes(new GranuleRun(granule, granule + 1)).LengthBytes : 0;
        }

        return bytes;
    }

    private IBlockNode Mortal(IBlockNode node) => Options.Kills > 0 ? new MortalNode(node, () => _life) : node;
}
