// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;

namespace Fleece.Disks.Bitmaps.Sidecars;

/// <summary>The room of one bitmap in the sidecar: index pages, which say what pages of bits were ever written, and then those.</summary>
/// <remarks>
/// <para>A new area costs its index pages, five at most; a page of bits is written when its first bit is set. A page that the index
/// does not name holds no bit, whatever the file has there; one that it names must carry its checksum. So zeros in the file are
/// never taken for bits that were not set.</para>
/// <para>Threading. <see cref="IBitmapJournal"/> as that says; the rest under the disk's chain lock while no change is in flight.</para>
/// </remarks>
internal sealed class SidecarArea : IBitmapJournal
{
    private const int BitsPerPage = SidecarPage.BitsBytes * 8;

    private readonly Sidecar _sidecar;
    private readonly Memory<byte> _page = SidecarPage.Allocate();
    private readonly int _indexPages;
    private readonly long _bitPages;
    private readonly byte[] _index;
    private volatile bool _isClosed;

    public SidecarArea(Sidecar sidecar, long offsetBytes, ulong id, long bitCount)
    {
        _sidecar = sidecar;
        (_indexPages, _bitPages) = CountPages(bitCount);
        _index = new byte[_indexPages * SidecarPage.BitsBytes];
        Id = id;
        Range = new BlockRange(offsetBytes, LengthFor(bitCount));
    }

    /// <summary>Tells its pages from those of every other area that was or will be at the same place.</summary>
    public ulong Id { get; }

    public BlockRange Range { get; }

    /// <inheritdoc/>
    public Span<byte> Page => _page.Span[..SidecarPage.BitsBytes];

    /// <summary>The length of an area for so many bits.</summary>
    public static long LengthFor(long bitCount)
    {
        (int indexPages, long bitPages) = CountPages(bitCount);
        return (indexPages + bitPages) * SidecarPage.LengthBytes;
    }

    /// <summary>Makes it an area without a bit.</summary>
    public void Begin()
    {
        for (int number = 0; number < _indexPages; number++)
        {
            StoreIndex(number);
        }
    }

    /// <inheritdoc/>
    public void Store(long pageIndex)
    {
        Invariant.Require(pageIndex >= 0 && pageIndex < _bitPages, "R5", "a bitmap's bits stay within their area");
        if (_isClosed)
        {
            return;
        }

        // The page before the index: a kill between them leaves a page that nothing names, and its bit's change has not happened yet.
        Write(_indexPages + pageIndex);
        if (!IsWritten(pageIndex))
        {
            _index[pageIndex / 8] |= (byte)(1 << (int)(pageIndex % 8));
            StoreIndex((int)(pageIndex / BitsPerPage));
        }
    }

    /// <summary>Sets the bits that the area holds.</summary>
    /// <param name="bits">Receives them; meaningless when there is a fault.</param>
    /// <param name="digest">What <see cref="Digest"/> was when the file was closed; null when it was not.</param>
    /// <returns>Why they can't be believed, as a sentence; null when they can.</returns>
    public string? Load(DirtyBitmap bits, uint? digest)
    {
        try
        {
            uint crc = uint.MaxValue;
            for (int number = 0; number < _indexPages; number++)
            {
                if (!TryRead(number, ref crc))
                {
                    return Damaged(number);
                }

                if (HasBitsFrom(_bitPages - (long)number * BitsPerPage))
                {
                    return Excessive(number);
                }

                Page.CopyTo(IndexPage(number));
            }

            for (long pageIndex = 0; pageIndex < _bitPages; pageIndex++)
            {
                if (!IsWritten(pageIndex))
                {
                    continue;
                }

                if (!TryRead(_indexPages + pageIndex, ref crc))
                {
                    return Damaged(_indexPages + pageIndex);
                }

                if (HasBitsFrom(bits.BitCount - pageIndex * BitsPerPage))
                {
                    return Excessive(_indexPages + pageIndex);
                }

                bits.Load(pageIndex * SidecarPage.BitsBytes, Page);
            }

            return digest is null || digest == ~crc
                ? null
                : $"Its bits in '{_sidecar.Path}' are not those that the dismount left there: pages of an earlier time are among them.";
        }
        catch (BlockException e)
        {
            return $"Its bits can't be read. {e.Message}";
        }
    }

    /// <summary>One checksum over all written pages of these bits, as they should be in the file.</summary>
    public uint Digest(DirtyBitmap bits)
    {
        uint crc = uint.MaxValue;
        for (int number = 0; number < _indexPages; number++)
        {
            IndexPage(number).CopyTo(Page);
            crc = Append(crc, number);
        }

        for (long pageIndex = 0; pageIndex < _bitPages; pageIndex++)
        {
            if (IsWritten(pageIndex))
            {
                _ = bits.CopyTo(pageIndex * SidecarPage.BitsBytes, Page);
                crc = Append(crc, _indexPages + pageIndex);
            }
        }

        return ~crc;
    }

    /// <summary>Keeps nothing more: the room goes to another bitmap.</summary>
    public void Close() => _isClosed = true;

    private static (int IndexPages, long BitPages) CountPages(long bitCount)
    {
        long bitPages = (bitCount + BitsPerPage - 1) / BitsPerPage;
        return ((int)((bitPages + BitsPerPage - 1) / BitsPerPage), bitPages);
    }

    private bool IsWritten(long pageIndex) => (_index[pageIndex / 8] >> (int)(pageIndex % 8) & 1) != 0;

    private Span<byte> IndexPage(int number) => _index.AsSpan(number * SidecarPage.BitsBytes, SidecarPage.BitsBytes);

    private void StoreIndex(int number)
    {
        IndexPage(number).CopyTo(Page);
        Write(number);
    }

    private void Write(long number)
    {
        SidecarPage.Seal(_page.Span, Id, number);
        _sidecar.Store(OffsetOf(number), _page.Span);
    }

    private bool TryRead(long number, ref uint crc)
    {
        _sidecar.Read(OffsetOf(number), _page.Span);
        crc = SidecarPage.AppendChecksum(crc, _page.Span);
        return SidecarPage.IsSealed(_page.Span, Id, number);
    }

    private uint Append(uint crc, long number)
    {
        SidecarPage.Seal(_page.Span, Id, number);
        return SidecarPage.AppendChecksum(crc, _page.Span);
    }

    // The page at hand ends with zeros where its bitmap ends.
    private bool HasBitsFrom(long bit)
    {
        if (bit >= BitsPerPage)
        {
            return false;
        }

        int partial = Page[(int)(bit / 8)] >> (int)(bit % 8);
        return partial != 0 || Page[((int)(bit / 8) + 1)..].ContainsAnyExcept((byte)0);
    }

    private string Excessive(long number) =>
        $"Its bits are those of another bitmap, or of another granularity: page {number} of its area, at offset {OffsetOf(number)} of " +
        $"'{_sidecar.Path}', has bits set behind the last one.";

    private string Damaged(long number) =>
        $"Its bits are damaged: what is at offset {OffsetOf(number)} of '{_sidecar.Path}' does not have the checksum of page {number} " +
        "of its area.";

    private long OffsetOf(long number) => Range.OffsetBytes + number * SidecarPage.LengthBytes;
}
