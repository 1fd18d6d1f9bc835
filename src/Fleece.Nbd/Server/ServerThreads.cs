// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Server;

/// <summary>A request that another thread is to serve.</summary>
internal interface IServerWork
{
    void Execute();
}

/// <summary>The threads that serve requests on slow storage, for all connections of one server.</summary>
/// <remarks>
/// They start when they are needed and end when they have been idle for a while. The thread pool is not used: requests
/// block in system calls, and the pool is there for continuations.
/// Threading. All members are safe from any thread.
/// </remarks>
internal sealed class ServerThreads
{
    /// <summary>Stack of every thread of a server: a request's deepest path needs a fraction, and a thousand threads fit.</summary>
    public const int StackBytes = 512 * 1024;

    // A disk's queue is full with this many, and processors are not.
    private const int MaximumThreads = 16;

    private static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(10);

    private readonly object _lock = new();
    private readonly Queue<IServerWork> _work = [];
    private int _threads;
    private int _idle;

    public void Post(IServerWork work)
    {
        lock (_lock)
        {
            _work.Enqueue(work);
            if (_idle >= _work.Count || _threads == MaximumThreads)
            {
                Monitor.Pulse(_lock);
                return;
            }

            _threads++;
            new Thread(Run, StackBytes) { IsBackground = true, Name = "Fleece NBD I/O" }.Start();
        }
    }

    private void Run()
    {
        while (Take() is { } work)
        {
            work.Execute();
        }
    }

    private IServerWork? Take()
    {
        lock (_lock)
        {
            IServerWork? work;
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
