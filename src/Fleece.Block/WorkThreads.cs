// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>Work that may keep its thread for long.</summary>
public interface IThreadWork
{
    /// <summary>Does the work. It must not throw.</summary>
    void Execute();
}

/// <summary>Up to 16 threads for work that blocks in system calls.</summary>
/// <remarks>
/// They start when they are needed and end when they have been idle for a while. The thread pool is not used: requests
/// block in system calls, and the pool is there for continuations.
/// Threading. All members are safe from any thread.
/// </remarks>
public sealed class WorkThreads(string name)
{
    /// <summary>Stack of such a thread: a request's deepest path needs a fraction, and a thousand threads fit.</summary>
    public const int StackBytes = 512 * 1024;

    // A disk's queue is full with this many, and processors are not.
    private const int MaximumThreads = 16;

    private static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(10);

    private readonly object _lock = new();
    private readonly Queue<IThreadWork> _work = [];
    private int _threads;
    private int _idle;

    /// <summary>Has the work done by another thread; on the caller's where the system has no thread to give.</summary>
    public void Post(IThreadWork work)
    {
        if (!TryQueue(work))
        {
            work.Execute();
        }
    }

    private bool TryQueue(IThreadWork work)
    {
        lock (_lock)
        {
            _work.Enqueue(work);
            if (_idle >= _work.Count || _threads == MaximumThreads || TryStart() || _threads != 0)
            {
                Monitor.Pulse(_lock);
                return true;
            }

            // Threads end only when nothing is left to do, so this was all.
            _work.Clear();
            return false;
        }
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
        while (Take() is { } work)
        {
            work.Execute();
        }
    }

    private IThreadWork? Take()
    {
        lock (_lock)
        {
            IThreadWork? work;
            while (!_work.TryDequeue(out work))
            {
                _idle++;
                bool wasCalled = Monitor.Wait(_lock, IdleTime);
                _idle--;
                if (!wasCalled && _work.Count == 0)
                {
                    _threads--;
                    return null;
                }
            }

            return work;
        }
    }
}
