// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>Copies that go on by themselves, so that a guest can leave which has waited for its own long enough.</summary>
/// <remarks>
/// <para>They have threads of their own, because a copy between local files blocks in system calls from its beginning to its end. A copy
/// that its guest has left is counted until it has ended: the owner of temp waits for it.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class Copiers
{
    /// <summary>Most copies at a time, of which each may hold a buffer of 1 MiB.</summary>
    public const int MaximumCopies = 128;

    private readonly SharedLock _lock = new();
    private readonly WorkThreads _threads = new("Fleece copies");
    private TaskCompletionSource? _nextEnd;
    private int _running;

    /// <summary>Null while there is room for another copy; else what completes when there may be.</summary>
    public Task? WhenRoom() => WhenFewerThan(MaximumCopies);

    /// <summary>Lets a copy go on by itself. Its error belongs to whoever waits for it.</summary>
    public void Start(Func<ValueTask> copy)
    {
        using (_lock.EnterScope())
        {
            _running++;
        }

        Schedule.Start(_threads, new Work(this, copy));
    }

    /// <summary>Completes when no copy is running.</summary>
    public async ValueTask DrainAsync()
    {
        while (WhenFewerThan(1) is { } next)
        {
            await Schedule.WaitAsync(next, CancellationToken.None).ConfigureAwait(false);
        }
    }

    /// <summary>Wakes everybody who waits here; they look again.</summary>
    public void Wake()
    {
        TaskCompletionSource? nextEnd;
        using (_lock.EnterScope())
        {
            nextEnd = _nextEnd;
            _nextEnd = null;
        }

        nextEnd?.SetResult();
    }

    private Task? WhenFewerThan(int count)
    {
        using (_lock.EnterScope())
        {
            return _running < count
                ? null
                : (_nextEnd ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
        }
    }

    private async Task RunAsync(Func<ValueTask> copy)
    {
        try
        {
            await copy().ConfigureAwait(false);
        }
#pragma warning disable CA1031 // The copy has kept it for whoever waits for it.
        catch (Exception)
#pragma warning restore CA1031
        {
        }

        using (_lock.EnterScope())
        {
            _running--;
        }

        Wake();
    }

    private sealed class Work(Copiers owner, Func<ValueTask> copy) : IThreadWork
    {
        public void Execute() => _ = owner.RunAsync(copy);
    }
}
