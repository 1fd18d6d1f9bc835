// SPDX-License-Identifier: MIT
namespace Fleece.TestKit;

/// <summary>Threads for what blocks. The thread pool is for continuations: a test that blocks its threads stops the others.</summary>
public static class OwnThread
{
    /// <summary>Runs the action on a thread of its own.</summary>
    public static Task Run(Action action) =>
        Task.Factory.StartNew(action, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <inheritdoc cref="Run(Action)"/>
    public static Task<T> Run<T>(Func<T> function) =>
        Task.Factory.StartNew(function, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
}
