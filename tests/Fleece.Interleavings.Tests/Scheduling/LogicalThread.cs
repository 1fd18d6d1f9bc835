// SPDX-License-Identifier: MIT
namespace Fleece.Interleavings;

/// <summary>One thread of a scenario. It runs on a real thread, but only while the scheduler lets it.</summary>
internal sealed class LogicalThread(Execution execution, int index, string role, Action body, bool mayWait)
    : IDisposable
{
    private readonly SemaphoreSlim _go = new(0);
    private Func<bool>? _unblocked;

    public int Index { get; } = index;

    /// <summary>One letter, as schedules name it.</summary>
    public char Letter => (char)('a' + Index);

    public string Role { get; } = role;

    /// <summary>False for snapshot requests: they never wait for guests or copies (I3).</summary>
    public bool MayWait { get; } = mayWait;

    /// <summary>Whose snapshot the thread is reading right now, for the oracle of frozen reads.</summary>
    public object? Reading { get; set; }

    /// <summary>When the disk answers the thread's reads at last; null for at once.</summary>
    public Func<bool>? AnsweredWhen { get; set; }

    /// <summary>The point it stands at.</summary>
    public string At { get; private set; } = "start";

    public bool IsFinished { get; private set; }

    public bool IsEnabled => !IsFinished && (_unblocked is null || _unblocked());

    public void Reach(string point)
    {
        At = point;
        execution.Step(this);
    }

    public void Block(string point, Func<bool> unblocked)
    {
        _unblocked = unblocked;
        try
        {
            Reach(point);
        }
        finally
        {
            _unblocked = null;
        }
    }

    /// <summary>Starts another thread, which may wait.</summary>
    public void Start(string role, Action body) => execution.Start(role, body);

    public void Fail(Exception failure) => execution.Fail(failure);

    public void Resume() => _go.Release();

    public void Park() => _go.Wait();

    public void Dispose() => _go.Dispose();

    /// <summary>The whole life of the thread, called on a worker.</summary>
    public void Run()
    {
        Park();
        Interleaving.SetCurrent(this);
        try
        {
            if (!execution.IsAborting)
            {
                body();
            }
        }
        catch (ExecutionAbortedException)
        {
            // Another thread has failed; its reason is what is reported.
        }
#pragma warning disable CA1031 // Whatever a thread of a scenario throws is the finding.
        catch (Exception e)
#pragma warning restore CA1031
        {
            execution.Fail(e);
        }

        Interleaving.SetCurrent(null);
        IsFinished = true;
        At = "end";
        execution.Finish(this);
    }
}

/// <summary>Unwinds the threads of an execution that has failed.</summary>
internal sealed class ExecutionAbortedException : Exception;
