// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Fleece.Block;

namespace Fleece.Images.Container;

/// <summary>The threads of one image that lies on a block node: the only ones that wait for that node.</summary>
/// <remarks>
/// <para>Why threads. A format looks mappings up, reads tables and grows its file under the lock of its metadata, in calls that complete
/// before they return. On a file of this machine that is a system call. On an NBD export it is a round trip through the network, whose
/// reply is received by the thread pool; a pool thread that waited for it could take the last one that would receive it. So each request
/// of such an image is handed to a thread of the image's own, which may wait as long as it likes, and its caller goes on asynchronously.
/// Threads start when requests need them, up to <see cref="WorkThreads.QueueThreads"/>, and end when they have been idle.</para>
/// <para>Why each image has its own. An image may lie on an export that this process serves from another image on an export. With common
/// threads, those that wait for the outer image would be the ones that the inner one needs.</para>
/// <para>The pool completes the requests: the code behind an await never runs on these threads. Nor does an await within a format lead
/// away from them, because what formats wait for is taken with <see cref="TakeTurnAsync"/>.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
/// <param name="path">The image, for messages and the threads' name.</param>
internal sealed class RequestThreads(string path)
{
    [ThreadStatic]
    private static RequestThreads? s_current;

    [ThreadStatic]
    private static Completion? s_completion;

    private readonly WorkThreads _threads = new($"Fleece image on {path}");

    /// <summary>Runs a request, or any other work with the image, on one of the threads: at once where the caller is one of them.</summary>
    /// <param name="request">The work.</param>
    /// <param name="cancellationToken">Takes back work that no thread has begun.</param>
    /// <exception cref="BlockException">IoFailed: the system has no thread to give; what the work throws.</exception>
    public async ValueTask RunAsync(Func<ValueTask> request, CancellationToken cancellationToken = default) =>
        _ = await RunAsync(
            () =>
            {
                Wait(request());
                return true;
            },
            cancellationToken).ConfigureAwait(false);

    /// <inheritdoc cref="RunAsync(Func{ValueTask}, CancellationToken)"/>
    public ValueTask<T> RunAsync<T>(Func<T> request, CancellationToken cancellationToken = default)
    {
        if (s_current == this)
        {
            return new ValueTask<T>(request());
        }

        Work<T> work = new(this, request, cancellationToken);
        work.ListenForCancelling();
        _threads.Post(work);
        return new ValueTask<T>(work.Task);
    }

    /// <summary>Waits for a node; only on one of the threads.</summary>
    /// <exception cref="BlockException">What the node's request fails with.</exception>
    public static void Wait(ValueTask request)
    {
        ConfiguredValueTaskAwaitable.ConfiguredValueTaskAwaiter awaiter = request.ConfigureAwait(false).GetAwaiter();
        if (!awaiter.IsCompleted)
        {
            Completion completion = CompletionOfThread();
            awaiter.UnsafeOnCompleted(completion.Signal);
            completion.Wait();
        }

        awaiter.GetResult();
    }

    /// <inheritdoc cref="Wait(ValueTask)"/>
    public static T Wait<T>(ValueTask<T> request)
    {
        ConfiguredValueTaskAwaitable<T>.ConfiguredValueTaskAwaiter awaiter = request.ConfigureAwait(false).GetAwaiter();
        if (!awaiter.IsCompleted)
        {
            Completion completion = CompletionOfThread();
            awaiter.UnsafeOnCompleted(completion.Signal);
            completion.Wait();
        }

        return awaiter.GetResult();
    }

    /// <summary>Takes a turn: on one of these threads by waiting, so that the work behind it stays on the thread; on any other
    /// asynchronously.</summary>
    public static ValueTask TakeTurnAsync(SemaphoreSlim turn, CancellationToken cancellationToken)
    {
        if (s_current is null)
        {
            return new ValueTask(turn.WaitAsync(cancellationToken));
        }

        turn.Wait(cancellationToken);
        return default;
    }

    private static Completion CompletionOfThread()
    {
        Invariant.Require(s_current is not null, "R1", "only a thread of an image waits for the node beneath it");
        return s_completion ??= new Completion();
    }

    private BlockException NoThread() => new(
        BlockErrors.IoFailed,
        $"The system has no thread to give for a request to the image on '{path}'. Close programs, or raise the limit of threads.",
        path);

    /// <summary>One request on its way through a thread.</summary>
    private sealed class Work<T>(RequestThreads threads, Func<T> request, CancellationToken cancellationToken)
        : TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously), IThreadWork
    {
        private readonly int _callerId = Environment.CurrentManagedThreadId;
        private CancellationTokenRegistration _registration;
        private int _isTaken;

        // A request that waits for a thread has begun nothing, so its caller may have its buffer back at once.
        public void ListenForCancelling() =>
            _registration = cancellationToken.UnsafeRegister(static work => ((Work<T>)work!).Cancel(), this);

        public void Execute()
        {
            if (Interlocked.Exchange(ref _isTaken, 1) != 0)
            {
                return;
            }

            _registration.Unregister();
            if (Environment.CurrentManagedThreadId == _callerId)
            {
                SetException(threads.NoThread());
                return;
            }

            s_current = threads;
            try
            {
                SetResult(request());
            }
            catch (OperationCanceledException e)
            {
                SetCanceled(e.CancellationToken);
            }
#pragma warning disable CA1031 // Any failure is the request's own, and its caller hears of it.
            catch (Exception e)
#pragma warning restore CA1031
            {
                SetException(e);
            }
            finally
            {
                s_current = null;
            }
        }

        private void Cancel()
        {
            if (Interlocked.Exchange(ref _isTaken, 1) == 0)
            {
                SetCanceled(cancellationToken);
            }
        }
    }

    /// <summary>The end of the one request that a thread waits for.</summary>
    private sealed class Completion
    {
        private readonly object _lock = new();
        private bool _hasEnded;

        public Completion() => Signal = Set;

        public Action Signal { get; }

        public void Wait()
        {
            lock (_lock)
            {
                while (!_hasEnded)
                {
                    Monitor.Wait(_lock);
                }

                _hasEnded = false;
            }
        }

        private void Set()
        {
            lock (_lock)
            {
                _hasEnded = true;
                Monitor.Pulse(_lock);
            }
        }
    }
}
