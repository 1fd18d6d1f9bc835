// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>Does one thing once a second, until it is disposed.</summary>
/// <remarks>Threading. Each has a thread of its own, so that it waits for no request and no pool, and storage that hangs holds up no other
/// storage's. <see cref="Dispose"/> from any thread, more than once too: behind it nothing is done any more.</remarks>
internal sealed class Heartbeat : IDisposable
{
    private const int StackBytes = 256 * 1024;

    private readonly object _gate = new();
    private readonly Action _beat;
    private bool _isEnded;

    private Heartbeat(Action beat) => _beat = beat;

    /// <summary>Time from one to the next.</summary>
    public static TimeSpan Interval => TimeSpan.FromSeconds(1);

    /// <summary>Begins.</summary>
    /// <param name="beat">What is done. It does not throw.</param>
    public static Heartbeat Start(Action beat)
    {
        Heartbeat started = new(beat);
        new Thread(started.Run, StackBytes) { IsBackground = true, Name = "Fleece heartbeat" }.Start();
        return started;
    }

    /// <summary>Ends it, behind a beat that is under way.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _isEnded = true;
            Monitor.PulseAll(_gate);
        }
    }

    private void Run()
    {
        lock (_gate)
        {
            while (!_isEnded)
            {
                Monitor.Wait(_gate, Interval);
                if (!_isEnded)
                {
                    _beat();
                }
            }
        }
    }
}
