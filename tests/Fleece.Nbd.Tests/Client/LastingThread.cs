// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;

namespace Fleece.Nbd.Tests.Client;

/// <summary>Runs things on a thread that lives as long as the process.</summary>
/// <remarks>nbdkit asks Linux for a SIGTERM when its parent dies (PR_SET_PDEATHSIG), and there the parent is the thread that started it,
/// which for a test may be one that ends in the middle of the next test.</remarks>
internal static class LastingThread
{
    private static readonly BlockingCollection<Task> Work = [];

    static LastingThread() => new Thread(Run) { IsBackground = true, Name = nameof(LastingThread) }.Start();

    public static T Run<T>(Func<T> function)
    {
        Task<T> task = new(function);
        Work.Add(task);
        return task.GetAwaiter().GetResult();
    }

    private static void Run()
    {
        foreach (Task task in Work.GetConsumingEnumerable())
        {
            task.RunSynchronously();
        }
    }
}
