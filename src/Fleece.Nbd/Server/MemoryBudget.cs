// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Server;

/// <summary>The bytes that all connections of one server may use for requests and replies beyond their first buffers.</summary>
/// <remarks>
/// <para>The lower half is for convenience (larger buffers make fewer system calls) and is never waited for; the other half
/// is for requests that do not fit otherwise, whose connections wait for it. Who waits holds only convenience and
/// requests that end by themselves, so nobody waits in a circle.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class MemoryBudget(long limitBytes)
{
    /// <summary>The least limit of a server: the buffer of the largest read, twice, because idle connections may hold the
    /// lower half for ever.</summary>
    public const long MinimumBytes = 2 * 2 * Wire.NbdLimits.MaximumPayloadBytes;

    // Only threads of connections wait here, and each looks now and then whether its connection still stands.
    private static readonly TimeSpan LookInterval = TimeSpan.FromSeconds(1);

    private readonly object _lock = new();
    private long _usedBytes;

    public long UsedBytes => Volatile.Read(ref _usedBytes);

    /// <summary>Takes bytes for convenience, or says that there are none.</summary>
    public bool TryTake(int bytes)
    {
        lock (_lock)
        {
            if (_usedBytes + bytes > limitBytes / 2)
            {
                return false;
            }

            _usedBytes += bytes;
            return true;
        }
    }

    /// <summary>Takes bytes without which a request can't go on; blocks the connection's own thread until there are some.</summary>
    /// <returns>False when the connection ended meanwhile.</returns>
    public bool Take(int bytes, CancellationToken connectionEnded)
    {
        lock (_lock)
        {
            while (_usedBytes + bytes > limitBytes)
            {
                if (connectionEnded.IsCancellationRequested)
                {
                    return false;
                }

                Monitor.Wait(_lock, LookInterval);
            }

            _usedBytes += bytes;
            return true;
        }
    }

    public void Return(int bytes)
    {
        lock (_lock)
        {
            _usedBytes -= bytes;
            Monitor.PulseAll(_lock);
        }
    }
}
