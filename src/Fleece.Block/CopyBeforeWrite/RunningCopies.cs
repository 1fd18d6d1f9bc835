// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>The copies from the active disk to temp that are running right now. They never overlap.</summary>
/// <remarks>Threading. Every member but <see cref="FindOldestRead"/> is called under the lock of the <see cref="PointInTime"/> that owns
/// it. The list is as long as the guest's queue depth at most, so it is searched from end to end.</remarks>
internal sealed class RunningCopies
{
    private readonly List<Copy> _copies = [];
    private TaskCompletionSource? _ended;
    private int _count;

    /// <summary>Since when the copy that has waited longest for the active disk waits; null when none does.</summary>
    /// <param name="gate">The lock, which is taken where any copy runs.</param>
    public long? FindOldestRead(SharedLock gate)
    {
        if (Volatile.Read(ref _count) == 0)
        {
            return null;
        }

        long? oldest = null;
        using (gate.EnterScope())
        {
            foreach (Copy copy in _copies)
            {
                if (copy.ReadingSince is { } since && (oldest is null || since < oldest))
                {
                    oldest = since;
                }
            }
        }

        return oldest;
    }

    /// <summary>Completes when none runs. Asked for when no copy begins any more.</summary>
    public Task Ended => _copies.Count == 0
        ? Task.CompletedTask
        : (_ended ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;

    /// <summary>The copy that holds the granule, or null.</summary>
    public Copy? Find(long granule)
    {
        foreach (Copy copy in _copies)
        {
            if (granule >= copy.Run.Start && granule < copy.Run.End)
            {
                return copy;
            }
        }

        return null;
    }

    /// <summary>Begins a copy of the run's head, up to the next running copy. The run's first granule is free.</summary>
    public Copy Begin(GranuleRun run)
    {
        long end = run.End;
        foreach (Copy other in _copies)
        {
            if (other.Run.Start >= run.Start)
            {
                end = Math.Min(end, other.Run.Start);
            }
        }

        Copy copy = new(new GranuleRun(run.Start, end));
        Invariant.Require(!copy.Run.IsEmpty, "I2", "a granule is copied by one request at a time");
        _copies.Add(copy);
        Volatile.Write(ref _count, _copies.Count);
        return copy;
    }

    /// <summary>Takes a finished copy off the list; its waiters are woken by the caller outside the lock.</summary>
    public void Remove(Copy copy)
    {
        _copies.Remove(copy);
        Volatile.Write(ref _count, _copies.Count);
        if (_copies.Count == 0)
        {
            _ended?.TrySetResult();
        }
    }

    /// <summary>Wakes everybody who waits for a copy, though the copies run on.</summary>
    public void WakeAll()
    {
        foreach (Copy copy in _copies)
        {
            copy.Wake();
        }
    }

    /// <summary>One running copy.</summary>
    internal sealed class Copy(GranuleRun run)
    {
        private const long NotReading = long.MinValue;

        private TaskCompletionSource? _finished;
        private long _readingSince = NotReading;

        public GranuleRun Run { get; } = run;

        /// <summary>The timestamp of the request to the active disk that it waits for; null for none. Set without the lock.</summary>
        public long? ReadingSince
        {
            get => Volatile.Read(ref _readingSince) is var since && since != NotReading ? since : null;
            set => Volatile.Write(ref _readingSince, value ?? NotReading);
        }

        /// <summary>Room in temp that the copy has taken, in bytes.</summary>
        public long ReservedBytes { get; set; }

        /// <summary>Why it failed, for a guest that waits for its own copy; set before anybody is woken.</summary>
        public Exception? Error { get; set; }

        /// <summary>Completes when the copy has ended, well or badly. Called under the lock.</summary>
        public Task Finished =>
            (_finished ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;

        /// <summary>Wakes the waiters, who look at the maps again. Nobody can join any more.</summary>
        public void Wake() => _finished?.TrySetResult();
    }
}
