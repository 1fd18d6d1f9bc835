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
internal sealed class SharedFlush(Action flush, string path)
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
            }
            catch (Exception exception) when (FileErrors.IsFromSystem(exception))
            {
                _failure = FileErrors.From(exception, path, "flush");
                throw _failure;
            }
        }
    }
}
