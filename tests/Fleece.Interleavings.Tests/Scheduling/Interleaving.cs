// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;

namespace Fleece.Interleavings;

/// <summary>What the engine's seam (Schedule) calls when its sources are compiled for these tests.</summary>
/// <remarks>
/// Outside a logical thread, while a scenario is set up or checked at its end, every call does nothing.
/// </remarks>
internal static class Interleaving
{
    [ThreadStatic]
    private static LogicalThread? s_current;

    [ThreadStatic]
    private static int s_quiet;

    /// <summary>The logical thread this code runs on; null in set-up, checks and quiet sections.</summary>
    public static LogicalThread? Current => s_quiet > 0 ? null : s_current;

    /// <summary>A place where another thread may run first.</summary>
    public static void Point(string name) => Current?.Reach(name);

    /// <summary>Blocks the logical thread until the task has completed or the token is cancelled.</summary>
    public static void Wait(Task task, CancellationToken cancellationToken)
    {
        LogicalThread? thread = Current;
        if (thread is { MayWait: false })
        {
            Violated("I3: a snapshot request waits for another request");
        }

        if (thread is null)
        {
            Assert.True(task.IsCompleted, "nothing waits outside a logical thread");
            return;
        }

        thread.Block("waits", () => task.IsCompleted || cancellationToken.IsCancellationRequested);
        if (!task.IsCompleted)
        {
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    /// <summary>Lets another thread do the work: a logical one, where there are such.</summary>
    public static void Start(Action work)
    {
        if (Current is { } thread)
        {
            thread.Start("copier", work);
        }
        else
        {
            work();
        }
    }

    /// <summary>
    /// Ends the execution: a promise did not hold. Not an ordinary exception, which an engine policy might swallow.
    /// </summary>
    [DoesNotReturn]
    public static void Violated(string promise)
    {
        OracleException failure = new(promise);
        if (s_current is { } thread)
        {
            thread.Fail(failure);
            throw new ExecutionAbortedException();
        }

        throw failure;
    }

    /// <summary>Lets an oracle look at shared state without being interleaved itself.</summary>
    public static QuietScope Quietly()
    {
        s_quiet++;
        return default;
    }

    internal static void SetCurrent(LogicalThread? thread) => s_current = thread;

    internal readonly struct QuietScope : IDisposable
    {
        public void Dispose() => s_quiet--;
    }
}

/// <summary>A promise of the design that did not hold.</summary>
internal sealed class OracleException(string message) : Exception(message);
