// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Server.Buffers;

/// <summary>The bytes that all connections of one server may use for requests and replies beyond their first buffers.</summary>
/// <remarks>
/// <para>They are taken before the memory is, and no connection ever waits for them: a connection that gets none goes on in pieces, with
/// its first buffers. So clients that hold all there is make others slower and stop none. Half is for convenience (larger
/// buffers make fewer system calls), which idle connections may keep; all is there for single requests.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class MemoryBudget(long limitBytes)
{
    private long _usedBytes;

    public long LimitBytes => limitBytes;

    public long UsedBytes => Volatile.Read(ref _usedBytes);

    /// <summary>Takes bytes for convenience, or says that there are none.</summary>
    public bool TryTakeComfort(int bytes) => TryTake(bytes, limitBytes / 2);

    /// <summary>Takes bytes for one request, or says that there are none.</summary>
    public bool TryTake(int bytes) => TryTake(bytes, limitBytes);

    public void Return(int bytes) => Interlocked.Add(ref _usedBytes, -bytes);

    private bool TryTake(int bytes, long limitOfKindBytes)
    {
        long usedBytes = UsedBytes;
        while (usedBytes + bytes <= limitOfKindBytes)
        {
            long seenBytes = Interlocked.CompareExchange(ref _usedBytes, usedBytes + bytes, usedBytes);
            if (seenBytes == usedBytes)
            {
                return true;
            }

            usedBytes = seenBytes;
        }

        return false;
    }
}
