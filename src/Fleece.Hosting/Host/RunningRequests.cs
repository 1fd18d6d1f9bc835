// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Hosting.Host;

/// <summary>The requests that the host works on now.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal sealed class RunningRequests : IDisposable
{
    private readonly CancellationTokenSource _ending = new();
    private readonly TaskCompletionSource _idle = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();
    private int _count;
    private bool _isEnding;

    /// <summary>Runs a request, unless the host is ending.</summary>
    /// <exception cref="BlockException"><see cref="HostErrors.NotRunning"/>: the host is ending.</exception>
    public async ValueTask<T> RunAsync<T>(Func<CancellationToken, ValueTask<T>> request, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (_isEnding)
            {
                throw new BlockException(
                    HostErrors.NotRunning, "The Fleece host is ending and takes no more requests. Try again when it runs.");
            }

            _count++;
        }

        try
        {
            using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _ending.Token);
            return await request(either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (_ending.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new BlockException(
                HostErrors.NotRunning,
                "The Fleece host ended before the request was done, and nothing was changed. Try again when it runs.");
        }
        finally
        {
            lock (_lock)
            {
                if (--_count == 0 && _isEnding)
                {
                    _idle.TrySetResult();
                }
            }
        }
    }

    /// <summary>Takes no more requests, asks those that run to give up, and waits until none runs or the time is over.</summary>
    public async ValueTask EndAsync(TimeSpan patience)
    {
        lock (_lock)
        {
            _isEnding = true;
            if (_count == 0)
            {
                _idle.TrySetResult();
            }
        }

        await _ending.CancelAsync().ConfigureAwait(false);
        await Task.WhenAny(_idle.Task, Task.Delay(patience)).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose() => _ending.Dispose();
}
