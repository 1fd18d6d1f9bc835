// SPDX-License-Identifier: MIT
using System.Numerics;
using System.Runtime.InteropServices;

namespace Fleece.Images.Container;

/// <summary>Tells when every request that may still use a freed allocation unit has ended.</summary>
/// <remarks>
/// <para>Requests look mappings up without a lock, so a request may hold the host offset of a unit that a discard
/// frees at that moment. The unit must not get new content until that request has ended. Each request counts itself
/// in under the current epoch, on a counter of its processor. The epoch moves on only when nobody is left in the one
/// before it; so whatever was freed in epoch e is out of everybody's hands in epoch e + 2.</para>
/// <para>Entering: count, then read the epoch again behind the full fence of the count; when it moved meanwhile, try
/// again. A request that stays counted under e had raised its counter before the epoch left e, so the one who moves it
/// on sees the counter.</para>
/// <para>Threading. Enter and Exit from any thread; <see cref="Advance"/> under one lock of the caller.</para>
/// </remarks>
internal sealed class Epochs
{
    private readonly PaddedCounters[] _stripes;
    private long _current = 2;

    public Epochs()
    {
        uint processors = (uint)Math.Min(Environment.ProcessorCount, 64);
        _stripes = new PaddedCounters[BitOperations.RoundUpToPowerOf2(processors)];
    }

    /// <summary>The epoch to note beside something that has just been made unreachable.</summary>
    public long Current => Volatile.Read(ref _current);

    /// <summary>True when nobody holds what was made unreachable in that epoch.</summary>
    public bool IsOver(long epoch) => Current >= epoch + 2;

    /// <summary>Counts a request in. The ticket goes to <see cref="Exit"/>.</summary>
    public int Enter()
    {
        int stripe = Thread.GetCurrentProcessorId() & (_stripes.Length - 1);
        while (true)
        {
            long epoch = Volatile.Read(ref _current);
            int parity = (int)(epoch & 1);
            Interlocked.Increment(ref Counter(stripe, parity));
            if (Volatile.Read(ref _current) == epoch)
            {
                return (stripe << 1) | parity;
            }

            Interlocked.Decrement(ref Counter(stripe, parity));
        }
    }

    /// <summary>Counts a request out.</summary>
    public void Exit(int ticket) => Interlocked.Decrement(ref Counter(ticket >> 1, ticket & 1));

    /// <summary>Moves on as far as the requests in flight allow, at most two epochs.</summary>
    public void Advance()
    {
        for (int step = 0; step < 2; step++)
        {
            Interlocked.MemoryBarrier();
            int before = (int)((_current - 1) & 1);
            for (int stripe = 0; stripe < _stripes.Length; stripe++)
            {
                if (Volatile.Read(ref Counter(stripe, before)) != 0)
                {
                    return;
                }
            }

            Interlocked.Increment(ref _current);
        }
    }

    private ref long Counter(int stripe, int parity)
    {
        ref PaddedCounters counters = ref _stripes[stripe];
        return ref parity == 0 ? ref counters.Even : ref counters.Odd;
    }

    // One line pair per processor, as in the request gate of Fleece.Block.
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    private struct PaddedCounters
    {
        [FieldOffset(64)]
        public long Even;

        [FieldOffset(72)]
        public long Odd;
    }
}
