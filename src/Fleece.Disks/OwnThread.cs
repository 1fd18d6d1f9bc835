// SPDX-License-Identifier: MIT
namespace Fleece.Disks;

/// <summary>Runs asynchronous loops that do synchronous file I/O outside the thread pool.</summary>
/// <remarks>
/// A loop that reads local files never awaits an incomplete task for long and would hold a pool thread for minutes; so it
/// begins on a thread of its own. Where its I/O does complete later, it goes on where that completes, and the thread ends.
/// </remarks>
internal static class OwnThread
{
    /// <summary>Starts a loop; the task completes when the loop has ended.</summary>
    public static Task Start(Func<Task> loop, string name)
    {
        TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Thread thread = new(() => _ = RunAsync(loop, ended)) { IsBackground = true, Name = name };
        thread.Start();
        return ended.Task;
    }

    private static async Task RunAsync(Func<Task> loop, TaskCompletionSource ended)
    {
        try
        {
            await loop().ConfigureAwait(false);
            ended.SetResult();
        }
#pragma warning disable CA1031 // Whatever ends the loop reaches the one who waits for it.
        catch (Exception e)
#pragma warning restore CA1031
        {
            ended.SetException(e);
        }
    }
}
