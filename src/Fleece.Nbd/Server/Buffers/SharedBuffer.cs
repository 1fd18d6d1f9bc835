// SPDX-License-Identifier: MIT
using Fleece.Block.Buffers;

namespace Fleece.Nbd.Server.Buffers;

/// <summary>A buffer from the pool that several requests can use; the last one gives it back.</summary>
/// <remarks>Threading. Users may be added and released from any thread; adding needs a user that is still there.</remarks>
internal sealed class SharedBuffer
{
    /// <summary>Size of the buffers that a connection has without asking the budget.</summary>
    public const int BaseBytes = 64 * 1024;

    /// <summary>Size up to which buffers grow for convenience.</summary>
    public const int ComfortBytes = 512 * 1024;

    private readonly PageBuffer _pages;
    private readonly MemoryBudget? _budget;
    private int _users = 1;

    private SharedBuffer(int lengthBytes, MemoryBudget? budget, bool isLasting)
    {
        _pages = PagePool.Shared.Rent(lengthBytes);
        _budget = budget;
        IsLasting = isLasting;
    }

    /// <summary>The bytes; they are not used after the last release.</summary>
    public Memory<byte> Bytes => _pages.Memory;

    /// <summary>What may be used, and was charged.</summary>
    public int LengthBytes => _pages.LengthBytes;

    /// <summary>True when an idle connection may keep it; false for what the budget gave for one request.</summary>
    public bool IsLasting { get; }

    /// <summary>True while a request besides the owner uses the buffer.</summary>
    public bool IsShared => Volatile.Read(ref _users) > 1;

    /// <summary>One of a connection's two first buffers, which the limit on connections bounds.</summary>
    public static SharedBuffer RentBase() => new(BaseBytes, null, isLasting: true);

    /// <summary>A convenient buffer when the budget has room for it.</summary>
    public static SharedBuffer? TryRentComfort(MemoryBudget budget) =>
        budget.TryTakeComfort(ComfortBytes) ? TryRentCharged(ComfortBytes, budget, isLasting: true) : null;

    /// <summary>A buffer of at least that length for one request, when the budget has room for it.</summary>
    public static SharedBuffer? TryRent(int lengthBytes, MemoryBudget budget) =>
        budget.TryTake(PagePool.LengthOf(lengthBytes)) ? TryRentCharged(lengthBytes, budget, isLasting: false) : null;

    public void AddUser() => Interlocked.Increment(ref _users);

    public void Release()
    {
        if (Interlocked.Decrement(ref _users) == 0)
        {
            int lengthBytes = LengthBytes;
            PagePool.Shared.Return(_pages);
            _budget?.Return(lengthBytes);
        }
    }

    // A system without memory is like a budget without: the connection goes on with what it has.
    private static SharedBuffer? TryRentCharged(int lengthBytes, MemoryBudget budget, bool isLasting)
    {
        try
        {
            return new SharedBuffer(lengthBytes, budget, isLasting);
        }
        catch (OutOfMemoryException)
        {
            budget.Return(PagePool.LengthOf(lengthBytes));
            return null;
        }
    }
}
