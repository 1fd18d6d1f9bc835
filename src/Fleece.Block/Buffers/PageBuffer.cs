// SPDX-License-Identifier: MIT
using System.Buffers;

namespace Fleece.Block.Buffers;

/// <summary>A buffer of a <see cref="PagePool"/>, outside the collector's heap.</summary>
/// <remarks>
/// Ownership. It belongs to the caller from <see cref="PagePool.Rent"/> to <see cref="PagePool.Return"/>; no span of it may be
/// used afterwards. Its content at first is that of an earlier use.
/// Threading. None: concurrent use is the renter's business.
/// </remarks>
internal sealed unsafe class PageBuffer : MemoryManager<byte>
{
    private byte* _pages;
    private int _isRented = 1;

    internal PageBuffer(int lengthBytes)
    {
        _pages = SystemPages.Take(lengthBytes);
        LengthBytes = lengthBytes;
    }

    /// <summary>Its length: what was asked for or a little more.</summary>
    public int LengthBytes { get; }

    /// <inheritdoc/>
    public override Span<byte> GetSpan() =>
        _pages is not null ? new Span<byte>(_pages, LengthBytes) : throw new ObjectDisposedException(nameof(PageBuffer));

    /// <inheritdoc/>
    public override MemoryHandle Pin(int elementIndex = 0)
    {
        ObjectDisposedException.ThrowIf(_pages is null, this);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)elementIndex, (uint)LengthBytes, nameof(elementIndex));
        return new MemoryHandle(_pages + elementIndex, pinnable: this);
    }

    /// <inheritdoc/>
    public override void Unpin()
    {
        // The pages never move.
    }

    internal void Lend() => _isRented = 1;

    internal void TakeBack()
    {
        if (Interlocked.Exchange(ref _isRented, 0) == 0)
        {
            throw new InvalidOperationException("A buffer was returned twice.");
        }
    }

    internal void Free()
    {
        SystemPages.Return(_pages, LengthBytes);
        _pages = null;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        // The pool frees the pages.
    }
}
