// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite.Pressure;

/// <summary>Where a guest's first writes were lately: the granules near there are those that it is about to overwrite.</summary>
/// <remarks>
/// <para>A write is noted when it was copied, or changed a consumed granule for the first time. Settled writes are not noted: nothing
/// there is at risk.</para>
/// <para>Threading. All members from any thread, without a lock: a place that is replaced while it is read is a place too.</para>
/// </remarks>
internal sealed class RecentWrites
{
    /// <summary>Places that are kept.</summary>
    public const int Capacity = 16;

    private readonly long[] _granules = new long[Capacity];
    private long _count;

    /// <summary>A write has ended before a granule.</summary>
    public void Note(long endGranule)
    {
        long index = Interlocked.Increment(ref _count) - 1;
        Volatile.Write(ref _granules[index % Capacity], endGranule);
    }

    /// <summary>The granules behind the latest writes, that of the newest first.</summary>
    public IEnumerable<long> NewestFirst()
    {
        long count = Volatile.Read(ref _count);
        for (long i = count - 1; i >= Math.Max(0, count - Capacity); i--)
        {
            yield return Volatile.Read(ref _granules[i % Capacity]);
        }
    }
}
