// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>Remembers where the last data extent lies that the file system reported.</summary>
/// <remarks>
/// <para>Finding the end of an extent can take the file system tens of milliseconds when the file has no holes, and a
/// reader that walks the file asks for every chunk of it.</para>
/// <para>What is remembered is only ever "data", so an answer that is out of date costs a read and is never wrong. Each
/// change that can make holes starts a new generation, and what was asked in an older one is not kept; so a hole made
/// by a completed request shows.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class DataExtentMemory
{
    private readonly Lock _lock = new();
    private BlockRange _extent;
    private long _generation;

    /// <summary>Reads before asking the file system; pass it to <see cref="Remember"/>.</summary>
    public long Generation => Volatile.Read(ref _generation);

    /// <summary>Bytes known to be data from an offset on; 0 when nothing is known.</summary>
    public long KnownBytesFrom(long offsetBytes)
    {
        lock (_lock)
        {
            bool isKnown = offsetBytes >= _extent.OffsetBytes && offsetBytes < _extent.EndBytes;
            return isKnown ? _extent.EndBytes - offsetBytes : 0;
        }
    }

    /// <summary>Keeps an extent, unless a hole may have been made since the generation was read.</summary>
    public void Remember(BlockRange extent, long generation)
    {
        lock (_lock)
        {
            if (generation == _generation)
            {
                _extent = extent;
            }
        }
    }

    /// <summary>Forgets what is known. Called after a hole may have been made, whether or not that succeeded.</summary>
    public void Forget()
    {
        lock (_lock)
        {
            _generation++;
            _extent = default;
        }
    }
}
