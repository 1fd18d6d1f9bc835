// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.TestKit;

namespace Fleece.Interleavings;

/// <summary>A disk, its sessions, and the threads that use them at once.</summary>
internal sealed class Scenario(Execution execution)
{
    /// <summary>The granule of most scenarios.</summary>
    public const int G = 512;

    private readonly List<ModelSession> _sessions = [];
    private readonly List<Change> _changes = [];
    private readonly List<Action> _endChecks = [];
    private readonly ManualTime _time = new();
    private byte[] _before = [];
    private IBlockNode _root = null!;

    public ModelDisk Disk { get; private set; } = null!;

    /// <summary>The newest session.</summary>
    public ModelSession Session => _sessions[^1];

    public PointInTime Point => Session.Point;

    /// <summary>Makes the disk; granule n holds n + 1, but those named are holes.</summary>
    public void MakeDisk(int granules, int granuleBytes = G, params int[] holes)
    {
        Disk = new ModelDisk("disk", granules, granuleBytes);
        for (int granule = 0; granule < granules; granule++)
        {
            if (!holes.Contains(granule))
            {
                Disk.Fill(granule, (byte)(granule + 1));
            }
        }

        _root = Disk;
        _before = [.. Disk.Content];
        Disk.Changing = granule => Watch(() => _sessions.ForEach(s => s.CheckChange(granule)));
        Disk.Reading = (first, last, change) =>
            (Interleaving.Current?.Reading as ModelSession)?.CountReader(first, last, change);
    }

    /// <summary>Pins an instant; the guest goes through its filter from now on.</summary>
    public ModelSession AddSession(
        CopyErrorPolicy policy = CopyErrorPolicy.BreakSnapshot, params BlockRange[] ranges)
    {
        ModelSession session =
            new($"session {_sessions.Count}", Disk, _root, policy, ranges.Length == 0 ? null : ranges, Limits, Consumers, KeepsNotes);
        _sessions.Add(session);
        _root = session.Point.Filter;
        return session;
    }

    /// <summary>What copies may cost in sessions that are added from now on.</summary>
    public CopyLimits Limits { get; set; } = new();

    /// <summary>Sessions that are added from now on note their changes.</summary>
    public bool KeepsNotes { get; set; }

    /// <summary>Who must confirm what is consumed in sessions that are added from now on.</summary>
    public string[] Consumers { get; set; } = [];

    /// <summary>A disk of some granules with a session whose copies time out when <see cref="Clock"/> says so.</summary>
    public ModelSession StartTimed(int granules, CopyErrorPolicy policy)
    {
        Limits = new CopyLimits { Timeout = TimeSpan.FromSeconds(45), Time = _time };
        return Start(granules, policy);
    }

    /// <summary>A thread on which the time of every copy runs out that a guest waits for at that moment.</summary>
    public void Clock() => execution.Add(
        "clock",
        () =>
        {
            Interleaving.Point("time runs out");
            _time.Advance(TimeSpan.FromSeconds(45));
        },
        mayWait: true);

    /// <summary>A disk of some granules with one session.</summary>
    public ModelSession Start(int granules, CopyErrorPolicy policy = CopyErrorPolicy.BreakSnapshot)
    {
        MakeDisk(granules);
        return AddSession(policy);
    }

    /// <summary>A thread of the guest, or anything else that may wait.</summary>
    public void Guest(Action body) => execution.Add("guest", body, mayWait: true);

    /// <summary>A thread of snapshot requests, which must never wait for the guest (I3).</summary>
    public void Reader(Action body) => execution.Add("reader", body, mayWait: false);

    public void AtEnd(Action check) => _endChecks.Add(check);

    /// <summary>The guest writes; returns the error's kind, or null for success.</summary>
    public string? Write(int offset, int length, byte value, CancellationToken cancellationToken = default)
    {
        byte[] data = new byte[length];
        data.AsSpan().Fill(value);
        return Request(offset, length, value, () => _root.WriteAsync(offset, data, WriteFlags.None, cancellationToken));
    }

    public string? WriteZeroes(int offset, int length) =>
        Request(offset, length, 0, () => _root.WriteZeroesAsync(offset, length, WriteFlags.None, default));

    public string? Discard(int offset, int length) =>
        Request(offset, length, 0, () => _root.DiscardAsync(offset, length, default));

    /// <summary>
    /// All requests of these tests complete on their logical thread; one that does not is a flaw of the tests.
    /// </summary>
    public static void Complete(ValueTask request)
    {
        if (!request.IsCompleted)
        {
            Interleaving.Violated("a request waits somewhere the scheduler does not see");
        }

        request.GetAwaiter().GetResult();
    }

    public static T Complete<T>(Task<T> request)
    {
        Complete(new ValueTask(request));
        return request.Result;
    }

    public void CheckEnd()
    {
        CheckContent();
        _sessions.ForEach(s => s.CheckEnd());
        _endChecks.ForEach(check => check());
    }

    private string? Request(int offset, int length, byte value, Func<ValueTask> request)
    {
        Change change = new(offset, offset + length, value) { Begun = execution.Steps };
        try
        {
            Complete(request());
            change.Ended = execution.Steps;
            _changes.Add(change);
            return null;
        }
        catch (BlockException e) when (e.Kind
            is BlockErrors.CopyFailed or BlockErrors.CopyTimedOut or BlockErrors.TempFull or BlockErrors.TempLimitReached
            or BlockErrors.SessionLogFull)
        {
            return e.Kind;
        }
    }

    /// <summary>Every byte holds what a change left that no later change is known to have overwritten.</summary>
    private void CheckContent()
    {
        for (int at = 0; at < Disk.Content.Length; at += Disk.GranuleBytes / 2)
        {
            List<Change> covering = _changes.FindAll(c => c.Start <= at && at < c.End);
            IEnumerable<byte> allowed = covering.Count == 0
                ? [_before[at]]
                : covering.Where(c => !covering.Exists(later => later.Begun > c.Ended)).Select(c => c.Value);
            Assert.Contains(Disk.Content[at], allowed);
        }
    }

    private static void Watch(Action oracle)
    {
        using (Interleaving.Quietly())
        {
            oracle();
        }
    }

    private sealed record Change(int Start, int End, byte Value)
    {
        public int Begun { get; init; }

        public int Ended { get; set; }
    }
}
