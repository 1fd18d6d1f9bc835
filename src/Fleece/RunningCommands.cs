// SPDX-License-Identifier: MIT
namespace Fleece;

/// <summary>The cmdlets of all runspaces that have not ended yet.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
#pragma warning disable CA1001 // Lives as long as the process.
internal sealed class RunningCommands
{
    private readonly CancellationTokenSource _stopping = new();
    private readonly object _lock = new();
    private int _count;

    /// <summary>Cancelled when the process ends; no cmdlet that waits afterwards begins anything.</summary>
    public CancellationToken Stopping => _stopping.Token;

    /// <summary>How many run now.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>A cmdlet begins.</summary>
    public void Enter() => Interlocked.Increment(ref _count);

    /// <summary>A cmdlet has ended.</summary>
    public void Exit()
    {
        if (Interlocked.Decrement(ref _count) == 0)
        {
            lock (_lock)
            {
                Monitor.PulseAll(_lock);
            }
        }
    }

    /// <summary>Stops all cmdlets as Ctrl+C does, and those that come later.</summary>
    public void Stop() => _stopping.Cancel();

    /// <summary>Waits until no cmdlet runs, or the time is over.</summary>
    public void WaitUntilEnded(TimeSpan patience)
    {
        long until = Environment.TickCount64 + (long)patience.TotalMilliseconds;
        lock (_lock)
        {
            while (Count != 0 && until - Environment.TickCount64 is > 0 and var left)
            {
                Monitor.Wait(_lock, (int)left);
            }
        }
    }
}
