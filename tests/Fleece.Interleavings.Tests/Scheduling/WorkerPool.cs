// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;

namespace Fleece.Interleavings;

/// <summary>
/// Real threads that are used again by execution after execution: starting one costs more than a whole run.
/// </summary>
internal sealed class WorkerPool : IDisposable
{
    private readonly BlockingCollection<LogicalThread> _work = [];
    private readonly List<Thread> _threads = [];

    public WorkerPool(int threads)
    {
        for (int i = 0; i < threads; i++)
        {
            Thread thread = new(Work) { IsBackground = true, Name = $"interleaving {i}" };
            _threads.Add(thread);
            thread.Start();
        }
    }

    public void Start(LogicalThread thread) => _work.Add(thread);

    public void Dispose()
    {
        _work.CompleteAdding();
        _threads.ForEach(t => t.Join());
        _work.Dispose();
    }

    private void Work()
    {
        foreach (LogicalThread thread in _work.GetConsumingEnumerable())
        {
            thread.Run();
        }
    }
}
