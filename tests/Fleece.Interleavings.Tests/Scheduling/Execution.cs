// SPDX-License-Identifier: MIT
using System.Text;

namespace Fleece.Interleavings;

/// <summary>One run of a scenario under one schedule: exactly one logical thread runs at any time.</summary>
/// <remarks>
/// Control is handed on by the thread that reaches a point: it asks the strategy who is next, wakes that one and parks.
/// No lock is needed, because whoever runs is alone; the semaphores of the threads carry the memory barriers.
/// </remarks>
internal sealed class Execution(ISchedulingStrategy strategy, WorkerPool workers) : IDisposable
{
    /// <summary>Longer than any honest run by far; whoever gets here spins.</summary>
    private const int MaximumSteps = 20_000;

    private readonly List<LogicalThread> _threads = [];
    private readonly List<LogicalThread> _enabled = [];
    private readonly List<(LogicalThread Thread, string Point)> _trace = [];
    private readonly SemaphoreSlim _ended = new(0);

    public bool IsAborting { get; private set; }

    /// <summary>The first thing that went wrong.</summary>
    public Exception? Failure { get; private set; }

    public int Steps => _trace.Count;

    public LogicalThread Add(string role, Action body, bool mayWait)
    {
        LogicalThread thread = new(this, _threads.Count, role, body, mayWait);
        _threads.Add(thread);
        return thread;
    }

    /// <summary>Adds a thread while others run; like them it waits until it is chosen.</summary>
    public void Start(string role, Action body) => workers.Start(Add(role, body, mayWait: true));

    /// <summary>Runs all threads to their ends, or to the first failure.</summary>
    public void Run()
    {
        foreach (LogicalThread thread in _threads)
        {
            workers.Start(thread);
        }

        PickNext(null)!.Resume();
        _ended.Wait();
    }

    /// <summary>A thread stands at a point: the strategy decides who goes on.</summary>
    public void Step(LogicalThread current)
    {
        ThrowIfAborting();
        if (_trace.Count >= MaximumSteps)
        {
            Fail(new OracleException($"no end after {MaximumSteps} steps: {Where()}"));
            throw new ExecutionAbortedException();
        }

        LogicalThread? next = PickNext(current);
        if (next is null)
        {
            throw new ExecutionAbortedException();
        }

        if (next != current)
        {
            next.Resume();
            current.Park();
            ThrowIfAborting();
        }
    }

    public void Finish(LogicalThread finished)
    {
        LogicalThread? next = IsAborting ? _threads.Find(t => !t.IsFinished) : PickNext(finished);

        // A deadlock found here leaves parked threads behind, which unwind one after the other.
        next ??= _threads.Find(t => !t.IsFinished);
        if (next is null)
        {
            _ended.Release();
        }
        else
        {
            next.Resume();
        }
    }

    public void Fail(Exception failure)
    {
        Failure ??= failure;
        IsAborting = true;
    }

    /// <summary>The schedule in compact form: letters of threads with how many steps each went, "a12b3a".</summary>
    public string Schedule()
    {
        StringBuilder text = new();
        for (int i = 0; i < _trace.Count;)
        {
            int start = i;
            while (i < _trace.Count && _trace[i].Thread == _trace[start].Thread)
            {
                i++;
            }

            text.Append(_trace[start].Thread.Letter).Append(i - start);
        }

        return text.ToString();
    }

    /// <summary>The last steps in words.</summary>
    public string Story(int steps = 60)
    {
        StringBuilder text = new();
        foreach ((LogicalThread thread, string point) in _trace.Skip(Math.Max(0, _trace.Count - steps)))
        {
            text.Append("  ").Append(thread.Letter).Append(' ').Append(thread.Role).Append(": ").AppendLine(point);
        }

        return text.ToString();
    }

    public void Dispose()
    {
        _ended.Dispose();
        _threads.ForEach(t => t.Dispose());
    }

    private LogicalThread? PickNext(LogicalThread? current)
    {
        _enabled.Clear();
        if (current is { IsEnabled: true })
        {
            _enabled.Add(current);
        }

        bool isForced = _enabled.Count == 0;
        foreach (LogicalThread thread in _threads)
        {
            if (thread != current && thread.IsEnabled)
            {
                _enabled.Add(thread);
            }
        }

        if (_enabled.Count == 0)
        {
            if (_threads.Exists(t => !t.IsFinished))
            {
                Fail(new OracleException($"deadlock: {Where()}"));
            }

            return null;
        }

        LogicalThread next = strategy.Choose(_enabled, isForced);
        _trace.Add((next, next.At));
        return next;
    }

    private void ThrowIfAborting()
    {
        if (IsAborting)
        {
            throw new ExecutionAbortedException();
        }
    }

    private string Where() => string.Join(", ", _threads.Select(t => $"{t.Letter} ({t.Role}) at '{t.At}'"));
}
