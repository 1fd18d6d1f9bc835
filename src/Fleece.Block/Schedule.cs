// SPDX-License-Identifier: MIT
using System.Diagnostics;

#if FLEECE_INTERLEAVE
using Fleece.Interleavings;
#endif

namespace Fleece.Block;

/// <summary>The seam through which tests take over the order in which threads run.</summary>
/// <remarks>
/// The product compiles <see cref="Point"/> to nothing and <see cref="WaitAsync"/> to an ordinary wait. The
/// interleaving tests compile these same sources with FLEECE_INTERLEAVE: then every point, lock and wait hands
/// control to a scheduler that decides which thread goes on, and so explores the orders one by one.
/// A point stands before every access to state that is shared without a lock: the maps, the slots, the state of the
/// session. Locks are points by themselves, and the tests' disks have their own.
/// </remarks>
internal static class Schedule
{
    /// <summary>A place where another thread may run first.</summary>
    [Conditional("FLEECE_INTERLEAVE")]
    public static void Point(string name)
    {
#if FLEECE_INTERLEAVE
        Interleaving.Point(name);
#endif
    }

    /// <summary>Waits for another request.</summary>
    public static ValueTask WaitAsync(Task task, CancellationToken cancellationToken)
    {
#if FLEECE_INTERLEAVE
        Interleaving.Wait(task, cancellationToken);
        return default;
#else
        return new ValueTask(task.WaitAsync(cancellationToken));
#endif
    }

    /// <summary>Lets another thread do the work.</summary>
    public static void Start(WorkThreads threads, IThreadWork work)
    {
#if FLEECE_INTERLEAVE
        Interleaving.Start(work.Execute);
#else
        threads.Post(work);
#endif
    }
}
