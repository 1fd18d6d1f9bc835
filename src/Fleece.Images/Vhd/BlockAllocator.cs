// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>Hands out places for new blocks, which read as zeros, and keeps a footer at the end of the file.</summary>
/// <remarks>
/// <para>The file grows by many blocks at once. The new footer is written at the new end and made durable before the old one's
/// place is used, so that at every moment a whole footer is at the end of the file; a crash leaves unused space between the
/// last block and the footer, which <see cref="Finish"/> or a check cuts off.</para>
/// <para>What was behind the last block when the image was opened may hold anything, such as the blocks of a crash, and so does
/// the place of an old footer; both are zeroed as they are handed out. All else there is a hole that the growth made.</para>
/// <para>Threading. Only under the metadata lock.</para>
/// </remarks>
internal sealed class BlockAllocator
{
    private readonly IContainerFile _file;
    private readonly VhdFooters _footers;
    private readonly VhdHeader _header;
    private readonly Poison _poison;
    private readonly long _growthBytes;
    private readonly bool _isAligned;
    private long? _footerOffsetBytes;
    private long _fileLengthBytes;
    private long _staleEndBytes;
    private long _endBytes;
    private int _freeBlocks;
    private bool _hasGrown;

    public BlockAllocator(
        IContainerFile file,
        VhdFooters footers,
        VhdHeader header,
        VhdBlockTable table,
        Poison poison,
        long growthBytes)
    {
        _file = file;
        _footers = footers;
        _header = header;
        _poison = poison;
        _growthBytes = growthBytes;
        _footerOffsetBytes = footers.TrailerOffsetBytes;
        _fileLengthBytes = footers.FileLengthBytes;
        _staleEndBytes = footers.FileLengthBytes;
        (_endBytes, _freeBlocks) = FindEnd(header, table);
        long largestBytes = _endBytes + ((_freeBlocks + 1) * Align(header.StrideBytes, VhdLimits.DataAlignmentBytes));
        _isAligned = header.BlockBytes % VhdLimits.DataAlignmentBytes == 0
            && largestBytes < (long)VhdBlockTable.Invalid * VhdLimits.SectorBytes;
    }

    /// <summary>The end of the last block, or of the tables where there is none; and how many of the disk's blocks are free.</summary>
    /// <remarks>A block behind the disk's end counts too: QEMU refuses a file whose table names a block beyond the file.</remarks>
    public static (long EndBytes, int FreeBlocks) FindEnd(VhdHeader header, VhdBlockTable table)
    {
        long endBytes = 0;
        foreach (BlockRange reserved in header.ReservedRanges)
        {
            endBytes = Math.Max(endBytes, reserved.EndBytes);
        }

        int freeBlocks = 0;
        for (int block = 0; block < table.Count; block++)
        {
            uint sector = table[block];
            if (sector == VhdBlockTable.Free)
            {
                freeBlocks += block < header.BlockCount ? 1 : 0;
            }
            else if (sector != VhdBlockTable.Invalid)
            {
                endBytes = Math.Max(endBytes, ((long)sector * VhdLimits.SectorBytes) + header.StrideBytes);
            }
        }

        return (endBytes, freeBlocks);
    }

    /// <summary>Takes the place of one block, whose data reads as zeros. A failure takes nothing.</summary>
    /// <param name="bitmap">The block's sector bitmap for the file now; empty to leave it as zeros.</param>
    /// <returns>The sector, for the block allocation table.</returns>
    public uint Allocate(ReadOnlySpan<byte> bitmap)
    {
        long startBytes = _isAligned
            ? Align(_endBytes + _header.BitmapBytes, VhdLimits.DataAlignmentBytes) - _header.BitmapBytes
            : Align(_endBytes, VhdLimits.SectorBytes);
        long endBytes = startBytes + _header.StrideBytes;
        if (endBytes / VhdLimits.SectorBytes >= VhdBlockTable.Invalid)
        {
            throw new BlockException(
                BlockErrors.NoSpace,
                $"The VHD image '{_file.Path}' can't grow beyond {_endBytes} bytes, where the 32-bit sector numbers of its block " +
                "allocation table end. Convert it to VHDX.",
                _file.Path);
        }

        if (_footerOffsetBytes is not { } footerOffsetBytes || endBytes > footerOffsetBytes)
        {
            Grow(endBytes);
        }

        if (startBytes < _staleEndBytes)
        {
            _file.Zero(startBytes, Math.Min(endBytes, _staleEndBytes) - startBytes);
        }

        if (!bitmap.IsEmpty)
        {
            _file.Write(startBytes, bitmap);
        }

        _endBytes = endBytes;
        _freeBlocks--;
        return (uint)(startBytes / VhdLimits.SectorBytes);
    }

    /// <summary>Makes good, before the first change, what a crash has done to a footer. The other one vouches for it.</summary>
    public void RepairFooters()
    {
        if (_footerOffsetBytes is null)
        {
            Grow(_endBytes);
        }

        if (_footers.CopyProblem is not null)
        {
            _poison.Guard(() =>
            {
                _file.Write(0, _footers.Footer.Bytes);
                _file.Flush();
            });
        }
    }

    /// <summary>Cuts off what was grown in advance. No request may run.</summary>
    public void Finish()
    {
        long targetBytes = Align(_endBytes, VhdLimits.SectorBytes);
        if (!_hasGrown || targetBytes >= _footerOffsetBytes)
        {
            return;
        }

        _poison.Guard(() => MoveFooterDown(_file, _footers.Footer, targetBytes));
    }

    /// <summary>Puts the footer at an earlier place and ends the file behind it, in an order that a crash can interrupt.</summary>
    public static void MoveFooterDown(IContainerFile file, VhdFooter footer, long targetBytes)
    {
        file.Write(targetBytes, footer.Bytes);
        file.Flush();
        file.SetLength(targetBytes + VhdFooter.LengthBytes);
        file.Flush();
    }

    private static long Align(long bytes, long unitBytes) => (bytes + unitBytes - 1) & -unitBytes;

    private void Grow(long neededEndBytes)
    {
        long perBlockBytes = _header.StrideBytes + VhdLimits.DataAlignmentBytes;
        long advanceBytes = Math.Min(_growthBytes, _freeBlocks * perBlockBytes);
        long mostBytes = _file.MaximumLengthBytes - VhdFooter.LengthBytes;
        long atBytes = Math.Max(neededEndBytes, Math.Min(_endBytes + advanceBytes, mostBytes) & -VhdLimits.SectorBytes);
        if (_footerOffsetBytes is null)
        {
            // Whatever is at the end of the file now, the footer goes behind it.
            atBytes = Math.Max(atBytes, _fileLengthBytes);
        }

        atBytes = Align(atBytes, VhdLimits.SectorBytes);
        WriteFooterBehind(atBytes);
        _poison.Guard(_file.Flush);
        if (_footerOffsetBytes is { } oldBytes)
        {
            _staleEndBytes = Math.Max(_staleEndBytes, oldBytes + VhdFooter.LengthBytes);
        }

        _footerOffsetBytes = atBytes;
        _fileLengthBytes = atBytes + VhdFooter.LengthBytes;
        _hasGrown = true;
    }

    // A full file system is no reason to stop: the file is put back to its length, with the old footer at its end.
    private void WriteFooterBehind(long atBytes)
    {
        try
        {
            _file.Write(atBytes, _footers.Footer.Bytes);
        }
        catch (BlockException)
        {
            if (_file.GetLength() != _fileLengthBytes)
            {
                _poison.Guard(() => _file.SetLength(_fileLengthBytes));
            }

            throw;
        }
    }
}
