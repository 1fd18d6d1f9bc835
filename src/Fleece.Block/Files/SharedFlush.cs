// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>The flushes of one file: one at a time, and those that wait for one share the next.</summary>
/// <remarks>
/// After a failed flush the system may have dropped the writes that it could not store, and may report the next flush as good; so the
/// first failure stands. One at a time, because the system tells a failure to only one of those that run together, and the others would
/// report success.
/// Threading. <see cref="Run"/> from any thread; it waits for the flush.
/// </remarks>
/// <param name="flush">Makes everything durable that was written before it begins.</param>
/// <param name="path">The file, for messages.</param>
/// <param name="failed">Hears of the first failure, on the thread of the flush and before that reports it; null for no listener.</param>
internal sealed class SharedFlush(Action flush, string path, Action<BlockException>? failed = null)
{
    private readonly Lock _lock = new();
    private BlockException? _failure;
    private long _asked;
    private long _done;

    /// <summary>How many have asked so far, for tests.</summary>
    internal long AskedCount => Volatile.Read(ref _asked);

    /// <summary>Returns when a flush that began after this call has ended.</summary>
    /// <exception cref="BlockException">It failed, or an earlier one did.</exception>
    public void Run()
    {
        long asked = Interlocked.Increment(ref _asked);
        BlockException first;
        lock (_lock)
        {
            if (_failure is { } earlier)
            {
                throw FileErrors.FlushFailedBefore(path, earlier);
            }

            if (_done >= asked)
            {
                return;
            }

            // Whoever has asked by now wrote before the flush begins.
            long covered = Volatile.Read(ref _asked);
            try
            {
                flush();
                _done = covered;
                return;
            }
            catch (BlockException exception)
            {
                first = exception;
            }
            catch (Exception exception) when (FileErrors.IsFromSystem(exception))
            {
                first = FileErrors.From(exception, path, "flush");
            }

            _failure = first;
        }

        // Outside the lock: it may take locks of its own.
        failed?.Invoke(first);
        throw first;
    }
}
