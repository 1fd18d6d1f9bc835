// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Interleavings;

/// <summary>
/// One point in time over the scenario's disk, with the bytes it must keep and the oracles that watch it.
/// </summary>
internal sealed class ModelSession
{
    private readonly int _granuleBytes;
    private readonly int[] _readers;
    private readonly byte[] _instant;
    private readonly string _name;

    public ModelSession(
        string name,
        ModelDisk disk,
        IBlockNode root,
        CopyErrorPolicy policy,
        BlockRange[]? ranges,
        CopyLimits? limits,
        string[] consumers,
        bool keepsNotes)
    {
        _name = name;
        _granuleBytes = disk.GranuleBytes;
        _instant = [.. disk.Content];
        _readers = new int[disk.Stored.Length];
        Temp = new ModelDisk($"{name}'s temp", disk.Stored.Length, _granuleBytes) { GarblesDiscarded = true };
        if (keepsNotes)
        {
            Journal = new ModelJournal(name, disk.Stored.Length, (run, hasData) => CheckDone(disk, run, hasData));
            Temp.Changing = CheckTempChange;
        }

        Point = new PointInTime(root, Temp, tempReadsAsZero: true, _granuleBytes, policy, ranges, WithoutClock(limits), consumers, Journal);
    }

    // Readers that give way look at a clock, and no order of threads explains its time.
    private static CopyLimits WithoutClock(CopyLimits? limits) =>
        (limits ?? new CopyLimits()) with { ReaderPatience = Timeout.InfiniteTimeSpan };

    public PointInTime Point { get; }

    public ModelDisk Temp { get; }

    /// <summary>Its notes; null where it keeps none.</summary>
    public ModelJournal? Journal { get; }

    /// <summary>Reads, and checks what comes (I1). Returns the error's kind, or null for success.</summary>
    /// <param name="offset">Where.</param>
    /// <param name="length">How much.</param>
    /// <param name="answeredWhen">Keeps the read in flight until then, with the bytes of before in its buffer.</param>
    /// <param name="consumer">Who reads; null for nobody that is counted.</param>
    public string? Read(int offset, int length, Func<bool>? answeredWhen = null, int? consumer = null)
    {
        LogicalThread? thread = Interleaving.Current;
        byte[] buffer = new byte[length];
        try
        {
            thread?.Reading = this;
            thread?.AnsweredWhen = answeredWhen;
            Scenario.Complete(SnapshotOf(consumer).ReadAsync(offset, buffer, CancellationToken.None));
        }
        catch (BlockException e) when (IsHonest(e))
        {
            return e.Kind;
        }
        finally
        {
            thread?.Reading = null;
            thread?.AnsweredWhen = null;
        }

        int same = buffer.AsSpan().CommonPrefixLength(_instant.AsSpan(offset, length));
        if (same != length)
        {
            Interleaving.Violated(
                $"I1: {_name} returned {buffer[same]:x2} at {offset + same}, " +
                $"the instant held {_instant[offset + same]:x2}");
        }

        return null;
    }

    /// <summary>Discards a range of the snapshot, for everybody or for one consumer.</summary>
    public void Consume(int offset, int length, int? consumer = null) =>
        Scenario.Complete(SnapshotOf(consumer).DiscardAsync(offset, length, CancellationToken.None));

    /// <summary>Asks for the status of a range. It never reaches past the first refused granule (I5).</summary>
    public string? AskStatus(int offset, int length)
    {
        try
        {
            BlockStatusRun run = Scenario.Complete(
                Point.Snapshot.GetStatusAsync(offset, length, CancellationToken.None).AsTask());
            bool fits = run.LengthBytes >= 1 && run.LengthBytes <= length;
            if (!fits || (run.ReadsAsZero && _instant.AsSpan(offset, (int)run.LengthBytes).ContainsAnyExcept((byte)0)))
            {
                Interleaving.Violated($"status of {_name} at {offset}, {length} bytes: {run}");
            }

            return null;
        }
        catch (BlockException e) when (IsHonest(e))
        {
            return e.Kind;
        }
    }

    /// <summary>Walks the map; returns which granules it calls refused. Every run has at least one byte.</summary>
    public bool[] Walk()
    {
        bool[] refused = new bool[_instant.Length / _granuleBytes];
        for (long at = 0; at < _instant.Length;)
        {
            SnapshotRun run = Point.Snapshot.GetRun(at);
            if (run.OffsetBytes != at || run.LengthBytes < 1 || at + run.LengthBytes > _instant.Length)
            {
                Interleaving.Violated($"the map of {_name} has at {at} the run {run}");
            }

            refused.AsSpan((int)(at / _granuleBytes), (int)(run.LengthBytes / _granuleBytes)).Fill(!run.IsReadable);
            at += run.LengthBytes;
        }

        return refused;
    }

    /// <summary>
    /// I2: before the guest changes a granule its old data is in temp, and nobody reads it for the snapshot.
    /// </summary>
    public void CheckChange(int granule)
    {
        if (Journal?.IsReadFromDisk(granule) == true && Point.State != SessionState.Stopped)
        {
            Interleaving.Violated($"I10: granule {granule} changes, and after a kill {_name} would read it from the disk");
        }

        if (Point.State != SessionState.Active || Point.Refused.Contains(granule))
        {
            return;
        }

        if (!Point.Done.Contains(granule) || Temp.At(granule) != _instant[granule * _granuleBytes])
        {
            Interleaving.Violated($"I2: granule {granule} changes before {_name} has its old data");
        }

        if (_readers[granule] != 0)
        {
            Interleaving.Violated($"I2: granule {granule} changes under a frozen read of {_name}");
        }
    }

    private void CheckDone(ModelDisk disk, GranuleRun run, bool hasData)
    {
        for (int granule = (int)run.Start; granule < run.End; granule++)
        {
            byte instant = _instant[granule * _granuleBytes];
            if (disk.At(granule) != instant || (hasData && Temp.At(granule) != instant) || (!hasData && instant != 0))
            {
                Interleaving.Violated($"I10: {_name} notes granule {granule} as done before temp has it, or behind the guest's write");
            }
        }
    }

    // Behind a kill what is copied is read from temp, so nothing changes it there but what is noted first.
    private void CheckTempChange(int granule)
    {
        if (Journal!.IsReadFromTemp(granule) && Point.State != SessionState.Stopped)
        {
            Interleaving.Violated($"I10: temp changes granule {granule}, and after a kill {_name} would read it there");
        }
    }

    public void CountReader(int first, int last, int change)
    {
        for (int granule = first; granule <= last; granule++)
        {
            _readers[granule] += change;
        }
    }

    /// <summary>What must hold when every request has ended.</summary>
    public void CheckEnd()
    {
        Assert.NotEqual(BlockErrors.InvariantBroken, Point.BrokenBy?.Kind);
        if (Point.State != SessionState.Active)
        {
            return;
        }

        Assert.False(Point.Frozen.Overlap(Point.Granules.All), $"{_name} has a frozen read left over");
        for (int granule = 0; granule < Temp.Stored.Length; granule++)
        {
            bool isRefused = Point.Refused.Contains(granule);
            Assert.False(isRefused && Temp.Stored[granule], $"I7: {_name}'s temp keeps consumed granule {granule}");
            string? error = Read(granule * _granuleBytes, _granuleBytes);
            Assert.True(isRefused == error is not null, $"granule {granule} of {_name} ends with {error}");
        }
    }

    private SnapshotAccess SnapshotOf(int? consumer) => consumer is { } index ? Point.Consumers[index].Snapshot : Point.Snapshot;

    // Anything else, a broken invariant above all, is a finding and not an answer.
    private static bool IsHonest(BlockException error) => error.Kind
        is BlockErrors.Denied or BlockErrors.Consumed or BlockErrors.Broken or BlockErrors.Stopped;
}
