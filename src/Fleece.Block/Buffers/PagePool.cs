// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Fleece.Block.Buffers;

/// <summary>Buffers for data on its way, which all threads share.</summary>
/// <remarks>
/// <para>A pool of the framework keeps arrays with each thread or core that gave them back, so that they add up with the threads of
/// connections. This one keeps at most <see cref="MaximumKeptBytes"/>, and those only as long as they are used again: what lay
/// idle for some seconds goes back to the system.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class PagePool
{
    /// <summary>Most bytes that the process's pool holds of buffers that are not in use.</summary>
    public const int MaximumKeptBytes = 64 * 1024 * 1024;

    private const int SmallestBits = 12;
    private const int LargestBits = 25;

    // Lengths beyond this are a power of two and one page more, for replies are a power of two and a header.
    private const int LargestExactBytes = 512 * 1024;
    private const int HeaderBytes = 4096;
    private const int LargestBytes = (1 << LargestBits) + HeaderBytes;

    private static readonly TimeSpan IdleTime = TimeSpan.FromSeconds(2);

    private readonly Shelf[] _shelves = new Shelf[LargestBits - SmallestBits + 2];
    private readonly long _maximumKeptBytes;
    private readonly ITimer _timer;
    private readonly Lock _timerLock = new();
    private bool _isTimerRunning;
    private long _keptBytes;

    internal PagePool(long maximumKeptBytes, TimeProvider time)
    {
        _maximumKeptBytes = maximumKeptBytes;
        for (int i = 0; i < _shelves.Length; i++)
        {
            _shelves[i] = new Shelf();
        }

        _timer = time.CreateTimer(static pool => ((PagePool)pool!).Trim(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>The process's pool.</summary>
    public static PagePool Shared { get; } = new(MaximumKeptBytes, TimeProvider.System);

    /// <summary>Bytes of buffers that are not in use and that the pool has kept.</summary>
    public long KeptBytes => Volatile.Read(ref _keptBytes);

    /// <summary>Length of the buffer that <see cref="Rent"/> gives for a length.</summary>
    public static int LengthOf(int lengthBytes) => lengthBytes switch
    {
        <= 1 << SmallestBits => 1 << SmallestBits,
        <= LargestExactBytes => (int)BitOperations.RoundUpToPowerOf2((uint)lengthBytes),
        <= LargestBytes =>
            Math.Max(LargestExactBytes, (int)BitOperations.RoundUpToPowerOf2((uint)(lengthBytes - HeaderBytes))) + HeaderBytes,
        _ => lengthBytes,
    };

    /// <summary>A buffer of at least that many bytes, with any content; <see cref="Return"/> must follow.</summary>
    /// <exception cref="OutOfMemoryException">The system has none to give.</exception>
    public PageBuffer Rent(int lengthBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(lengthBytes);
        int roundedBytes = LengthOf(lengthBytes);
        if (ShelfOf(roundedBytes)?.TryTake() is { } kept)
        {
            Interlocked.Add(ref _keptBytes, -roundedBytes);
            kept.Lend();
            return kept;
        }

        return new PageBuffer(roundedBytes);
    }

    /// <summary>Gives a buffer back; no span of it may be used any more.</summary>
    /// <exception cref="InvalidOperationException">It was given back before.</exception>
    public void Return(PageBuffer buffer)
    {
        ArgumentNullException.ThrowIfNull(buffer);
        buffer.TakeBack();
        if (ShelfOf(buffer.LengthBytes) is { } shelf)
        {
            if (Interlocked.Add(ref _keptBytes, buffer.LengthBytes) <= _maximumKeptBytes)
            {
                shelf.Put(buffer);
                if (!Volatile.Read(ref _isTimerRunning))
                {
                    StartTimer();
                }

                return;
            }

            Interlocked.Add(ref _keptBytes, -buffer.LengthBytes);
        }

        buffer.Free();
    }

    private Shelf? ShelfOf(int roundedBytes)
    {
        int bits = BitOperations.Log2((uint)roundedBytes);
        return roundedBytes <= LargestExactBytes ? _shelves[bits - SmallestBits]
            : roundedBytes <= LargestBytes ? _shelves[bits - SmallestBits + 1]
            : null;
    }

    private void StartTimer()
    {
        lock (_timerLock)
        {
            if (!_isTimerRunning)
            {
                _isTimerRunning = true;
                _timer.Change(IdleTime, IdleTime);
            }
        }
    }

    private void Trim()
    {
        foreach (Shelf shelf in _shelves)
        {
            foreach (PageBuffer idle in shelf.TakeIdle())
            {
                Interlocked.Add(ref _keptBytes, -idle.LengthBytes);
                idle.Free();
            }
        }

        lock (_timerLock)
        {
            // A thread that keeps a buffer just now has counted it, or else it sees the timer stopped and starts it.
            Volatile.Write(ref _isTimerRunning, false);
            Interlocked.MemoryBarrier();
            _isTimerRunning = KeptBytes != 0;
            if (!_isTimerRunning)
            {
                _timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            }
        }
    }

    /// <summary>The kept buffers of one length.</summary>
    private sealed class Shelf
    {
        private readonly Lock _lock = new();
        private readonly Stack<PageBuffer> _kept = [];
        private int _idleCount;

        public PageBuffer? TryTake()
        {
            lock (_lock)
            {
                if (_kept.TryPop(out PageBuffer? buffer))
                {
                    _idleCount = Math.Min(_idleCount, _kept.Count);
                }

                return buffer;
            }
        }

        public void Put(PageBuffer buffer)
        {
            lock (_lock)
            {
                _kept.Push(buffer);
            }
        }

        /// <summary>Takes as many as were never needed since the last call.</summary>
        public PageBuffer[] TakeIdle()
        {
            lock (_lock)
            {
                PageBuffer[] idle = _idleCount == 0 ? [] : new PageBuffer[_idleCount];
                for (int i = 0; i < idle.Length; i++)
                {
                    idle[i] = _kept.Pop();
                }

                _idleCount = _kept.Count;
                return idle;
            }
        }
    }
}
