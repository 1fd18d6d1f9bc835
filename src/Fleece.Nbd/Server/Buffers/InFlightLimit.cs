// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Server.Buffers;

/// <summary>Bounds what one connection has under way beyond its own thread; that thread stops receiving at the bound.</summary>
/// <remarks>Threading. <see cref="Exit"/> from any thread, all else from the connection's own.</remarks>
internal sealed class InFlightLimit
{
    private const int MaximumRequests = 64;
    private const long MaximumBytes = 16 * 1024 * 1024;

    private readonly object _lock = new();
    private int _requests;
    private long _bytes;

    /// <summary>Requests that are under way.</summary>
    public int RequestCount => Volatile.Read(ref _requests);

    /// <summary>Waits for room. A request larger than all the room goes alone.</summary>
    public void Enter(long bytes)
    {
        lock (_lock)
        {
            while (_requests == MaximumRequests || (_requests != 0 && _bytes + bytes > MaximumBytes))
            {
                Monitor.Wait(_lock);
            }

            _requests++;
            _bytes += bytes;
        }
    }

    public void Exit(long bytes)
    {
        lock (_lock)
        {
            _requests--;
            _bytes -= bytes;
            Monitor.PulseAll(_lock);
        }
    }

    /// <summary>Waits for a task that has not completed, and for all that is under way, as the connection's thread does at the
    /// bound.</summary>
    public void Await(Task task)
    {
        if (task.IsCompleted)
        {
            return;
        }

        Enter(0);
        _ = task.ContinueWith(
            static (_, limit) => ((InFlightLimit)limit!).Exit(0),
            this,
            CancellationToken.None,
            TaskContinuationOptions.ExecuteSynchronously,
            TaskScheduler.Default);
        Drain();
    }

    /// <summary>Waits until nothing is under way.</summary>
    public void Drain()
    {
        lock (_lock)
        {
            while (_requests != 0)
            {
                Monitor.Wait(_lock);
            }
        }
    }
}
