// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>Work that may keep its thread for long.</summary>
internal interface IThreadWork
{
    /// <summary>Does the work. It must not throw.</summary>
    void Execute();
}

/// <summary>Threads for work that blocks in system calls.</summary>
/// <param name="name">Name of every thread.</param>
/// <param name="maximumThreads">How many may run at a time.</param>
/// <remarks>
/// They start when they are needed and end when they have been idle for a while. The thread pool is not used: requests
/// block in system calls, and the pool is there for continuations.
/// Threading. All members are safe from any thread.
/// </remarks>
internal sealed class WorkThreads(string name, int maximumThreads = WorkThreads.QueueThreads)
{
    /// <summary>How many keep a disk's queue full.</summary>
    public const int QueueThreads = 16;

    /// <summary>Stack of such a thread: a request's deepest path needs a fraction, and a thousand threads fit.</summary>
    public const int StackBytes = 512 * 1024;

    private static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(10);

    private readonly Lock _lock = new();
    private readonly Queue<IThreadWork> _work = [];
    private readonly List<Worker> _idle = [];
    private int _threads;

    /// <summary>Has the work done by another thread; on the caller's where the system has no thread to give.</summary>
    public void Post(IThreadWork work)
    {
        if (!TryHandOver(work, mayWait: true))
        {
            work.Execute();
        }
    }

    /// <summary>Has the work begun by another thread now; false when as many as may run are busy, or the system has no thread to
    /// give.</summary>
    public bool TryBegin(IThreadWork work) => TryHandOver(work, mayWait: false);

    private bool TryHandOver(IThreadWork work, bool mayWait)
    {
        Worker idle;
        lock (_lock)
        {
            if (_idle.Count == 0)
            {
                // A thread that starts here finds the work, for it has to wait for the lock first.
                bool isTaken = (_threads < maximumThreads && TryStart()) || (mayWait && _threads != 0);
                if (isTaken)
                {
                    _work.Enqueue(work);
                }

                return isTaken;
            }

            // The one that has waited least: its stack is in the cache, and those that are not needed get to end.
            idle = _idle[^1];
            _idle.RemoveAt(_idle.Count - 1);
        }

        idle.Give(work);
        return true;
    }

    private bool TryStart()
    {
        try
        {
            new Thread(Run, StackBytes) { IsBackground = true, Name = name }.Start();
            _threads++;
            return true;
        }
        catch (OutOfMemoryException)
        {
            return false;
        }
    }

    private void Run()
    {
        using Worker self = new();
        while (Take(self) is { } work)
        {
            work.Execute();
        }
    }

    private IThreadWork? Take(Worker self)
    {
        lock (_lock)
        {
            if (_work.TryDequeue(out IThreadWork? work))
            {
                return work;
            }

            _idle.Add(self);
        }

        if (self.TryTake(IdleTime, out IThreadWork? given))
        {
            return given;
        }

        lock (_lock)
        {
            if (_idle.Remove(self))
            {
                _threads--;
                return null;
            }
        }

        // Somebody chose this thread just now, and is about to give it the work.
        return self.TryTake(Timeout.InfiniteTimeSpan, out given) ? given : null;
    }

    /// <summary>What an idle thread waits at. Work is handed over behind the lock, so that whoever wakes finds it free.</summary>
    private sealed class Worker : IDisposable
    {
        private readonly AutoResetEvent _given = new(false);
        private IThreadWork? _work;

        public void Give(IThreadWork work)
        {
            _work = work;
            _given.Set();
        }

        public bool TryTake(TimeSpan patience, out IThreadWork? work)
        {
            bool isGiven = _given.WaitOne(patience);
            work = isGiven ? _work : null;
            return isGiven;
        }

        public void Dispose() => _given.Dispose();
    }
}
