// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;

namespace Fleece.Backups.Reading;

/// <summary>Recycles the arrays of full-size chunks; others come from the heap, for a chunk's array has its exact length.</summary>
/// <remarks>Threading. Safe from any thread. It never holds more arrays than <paramref name="capacity"/>.</remarks>
internal sealed class ChunkBuffers(int sizeBytes, int capacity)
{
    private readonly ConcurrentStack<byte[]> _free = [];

    public byte[] Rent(int lengthBytes) =>
        lengthBytes == sizeBytes && _free.TryPop(out byte[]? buffer)
            ? buffer
            : GC.AllocateUninitializedArray<byte>(lengthBytes);

    public void Return(byte[] buffer)
    {
        if (buffer.Length == sizeBytes && _free.Count < capacity)
        {
            _free.Push(buffer);
        }
    }
}
