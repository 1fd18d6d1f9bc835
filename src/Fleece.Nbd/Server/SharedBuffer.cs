// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Numerics;

namespace Fleece.Nbd.Server;

/// <summary>An array from the pool that several requests can use; the last one gives it back.</summary>
/// <remarks>Threading. Users may be added and released from any thread; adding needs a user that is still there.</remarks>
internal sealed class SharedBuffer
{
    /// <summary>Size of the buffers that a connection has without asking the budget.</summary>
    public const int BaseBytes = 64 * 1024;

    /// <summary>Size up to which buffers grow for convenience.</summary>
    public const int ComfortBytes = 512 * 1024;

    // The framework's own pool keeps what a thread gives back with that thread, and a connection's thread ends with it: every
    // client would cost new arrays of this size, and the guests' requests would wait for their collection.
    private static readonly ArrayPool<byte> Convenient = ArrayPool<byte>.Create(ComfortBytes, MaximumKeptArrays);

    private const int MaximumKeptArrays = 16;

    private readonly MemoryBudget? _budget;
    private int _users = 1;

    private SharedBuffer(int lengthBytes, MemoryBudget? budget, bool isLasting)
    {
        Bytes = PoolOf(lengthBytes).Rent(lengthBytes);
        LengthBytes = lengthBytes;
        _budget = budget;
        IsLasting = isLasting;
    }

    /// <summary>The array, which may be longer than what was asked for: a pool that has none of a length gives a longer one.</summary>
    public byte[] Bytes { get; }

    /// <summary>What was asked for, may be used, and was charged.</summary>
    public int LengthBytes { get; }

    /// <summary>True when an idle connection may keep it; false for what the budget gave for one request.</summary>
    public bool IsLasting { get; }

    /// <summary>True while a request besides the owner uses the array.</summary>
    public bool IsShared => Volatile.Read(ref _users) > 1;

    /// <summary>One of a connection's two first buffers, which the limit on connections bounds.</summary>
    public static SharedBuffer RentBase() => new(BaseBytes, null, isLasting: true);

    /// <summary>A buffer for a reply that is small by its nature; the limit on requests in flight bounds their number.</summary>
    public static SharedBuffer RentUncharged(int lengthBytes) => new(lengthBytes, null, isLasting: false);

    /// <summary>A convenient buffer when the budget has room for it.</summary>
    public static SharedBuffer? TryRentComfort(MemoryBudget budget) =>
        budget.TryTake(ComfortBytes) ? new SharedBuffer(ComfortBytes, budget, isLasting: true) : null;

    /// <summary>A buffer of at least that length; null when the connection ended while it waited for the budget.</summary>
    public static SharedBuffer? Rent(int lengthBytes, MemoryBudget budget, CancellationToken connectionEnded)
    {
        // The pool's arrays have these lengths, so what is charged is what is used.
        int roundedBytes = (int)BitOperations.RoundUpToPowerOf2((uint)lengthBytes);
        return budget.Take(roundedBytes, connectionEnded) ? new SharedBuffer(roundedBytes, budget, isLasting: false) : null;
    }

    public void AddUser() => Interlocked.Increment(ref _users);

    public void Release()
    {
        if (Interlocked.Decrement(ref _users) == 0)
        {
            PoolOf(LengthBytes).Return(Bytes);
            _budget?.Return(LengthBytes);
        }
    }

    private static ArrayPool<byte> PoolOf(int lengthBytes) => lengthBytes <= ComfortBytes ? Convenient : ArrayPool<byte>.Shared;
}
