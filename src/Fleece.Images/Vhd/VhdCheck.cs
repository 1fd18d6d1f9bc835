// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Checking;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>Examines an image's footers, header and block allocation table, and repairs what can be repaired.</summary>
/// <remarks>
/// <para>A damaged footer is written again from the other one. An entry of the block allocation table that points outside the
/// file or at the image's own tables leads to no data, so it is dropped. Of two blocks in one place none can be told to be the
/// right one, so they stay as they are. Unused space at the end is cut off, but only where nothing worse is left.</para>
/// <para>Gaps below a block are no leak: they are what aligns data, here and in Windows. Gaps of a block and more are leaks;
/// between other blocks only converting the image gives them back.</para>
/// </remarks>
internal sealed class VhdCheck(IContainerFile file, ImageRepair repair, CancellationToken cancellationToken)
{
    private readonly FindingList _findings = new();
    private long _allocatedBlocks;
    private long _fragmentedBlocks;

    /// <summary>Does it.</summary>
    /// <exception cref="BlockException">WrongFormat, Corrupt: no footer is whole; read and write errors.</exception>
    public ImageReport Run()
    {
        VhdFooters footers = VhdFooters.Read(file);
        VhdHeader? header = null;
        try
        {
            if (footers.Footer.Type == VhdDiskType.Fixed)
            {
                FixedVhdMap.CheckLength(file.Path, footers);
            }
            else
            {
                header = VhdHeader.Read(file, footers);
            }
        }
        catch (BlockException failure) when (failure.Kind is ImageErrors.Corrupt or BlockErrors.Truncated)
        {
            _findings.Add(ImageFindingKind.Corruption, failure.Message, failure.OffsetBytes, isRepaired: false);
            return Report(0);
        }

        if (header is not null)
        {
            Examine(footers, header);
        }

        return Report(header?.BlockCount ?? 0);
    }

    private void Examine(VhdFooters footers, VhdHeader header)
    {
        bool isRepairing = repair == ImageRepair.All;
        VhdBlockTable table = VhdBlockTable.Read(file, header);
        cancellationToken.ThrowIfCancellationRequested();
        CheckTable(footers, header, table, isRepairing);
        if (footers.Footer.Type == VhdDiskType.Differencing && VhdParentLocators.ReadCandidates(file, header).Count == 0)
        {
            _findings.Add(
                ImageFindingKind.Corruption,
                "Neither a parent locator nor the parent's name says where the parent is.",
                header.OffsetBytes,
                isRepaired: false);
        }

        CheckBlocks(header, table);
        cancellationToken.ThrowIfCancellationRequested();
        long footerOffsetBytes = CheckFooters(footers, isRepairing);
        CheckTail(footers, header, table, footerOffsetBytes);
    }

    private void CheckTable(VhdFooters footers, VhdHeader header, VhdBlockTable table, bool isRepairing)
    {
        List<int> faulty = [];
        bool hasDropped = false;
        table.FindFaults(header, footers.ContentEndBytes, fault =>
        {
            bool isDropped = isRepairing && fault.Kind != BlockFaultKind.OnAnotherBlock;
            long entryBytes = header.TableOffsetBytes + ((long)fault.Block * sizeof(uint));
            _findings.Add(
                ImageFindingKind.Corruption,
                Describe(fault, header, footers.ContentEndBytes, isDropped),
                entryBytes,
                isDropped);
            if (isDropped)
            {
                file.Write(entryBytes, [0xff, 0xff, 0xff, 0xff]);
                hasDropped = true;
            }

            faulty.Add(isDropped ? ~fault.Block : fault.Block);
        });
        foreach (int block in faulty)
        {
            table.Set(block < 0 ? ~block : block, block < 0 ? VhdBlockTable.Free : VhdBlockTable.Invalid);
        }

        if (hasDropped)
        {
            file.Flush();
        }
    }

    private string Describe(BlockFault fault, VhdHeader header, long contentEndBytes, bool isDropped)
    {
        if (_findings.IsFull)
        {
            return string.Empty;
        }

        string text = fault.Describe(header, contentEndBytes);
        string dropped = isDropped ? " The entry was dropped: what was stored there is lost." : string.Empty;
        return $"{char.ToUpperInvariant(text[0])}{text[1..]}.{dropped}";
    }

    private void CheckBlocks(VhdHeader header, VhdBlockTable table)
    {
        List<uint> starts = [];
        uint previous = VhdBlockTable.Free;
        long strideSectors = header.StrideBytes / VhdLimits.SectorBytes;
        for (int block = 0; block < table.Count; block++)
        {
            uint sector = table[block];
            if (sector is VhdBlockTable.Free or VhdBlockTable.Invalid)
            {
                continue;
            }

            starts.Add(sector);
            if (block >= header.BlockCount)
            {
                continue;
            }

            long gapSectors = sector - (previous + strideSectors);
            bool follows = gapSectors >= 0 && gapSectors * VhdLimits.SectorBytes < VhdLimits.DataAlignmentBytes;
            _fragmentedBlocks += previous != VhdBlockTable.Free && !follows ? 1 : 0;
            previous = sector;
            _allocatedBlocks++;
        }

        starts.Sort();
        long lostBytes = 0;
        for (int i = 1; i < starts.Count; i++)
        {
            long gapBytes = (starts[i] - (starts[i - 1] + strideSectors)) * VhdLimits.SectorBytes;
            lostBytes += gapBytes >= header.StrideBytes ? gapBytes : 0;
        }

        if (lostBytes != 0)
        {
            _findings.LeakedBytes += lostBytes;
            _findings.Add(
                ImageFindingKind.Leak,
                $"{lostBytes} bytes between blocks are not used. Converting the image gives them back.",
                null,
                isRepaired: false);
        }
    }

    // Returns where the footer is in the end.
    private long CheckFooters(VhdFooters footers, bool isRepairing)
    {
        long offsetBytes = footers.ContentEndBytes;
        if (footers.TrailerProblem is { } trailer)
        {
            _findings.Add(
                ImageFindingKind.Corruption,
                $"The footer at the end {trailer}; the copy at the start is whole.",
                footers.FileLengthBytes,
                isRepairing);
            if (isRepairing)
            {
                // Behind whatever is at the end now.
                offsetBytes = footers.EndOfSectorsBytes;
                file.Write(offsetBytes, footers.Footer.Bytes);
                file.Flush();
            }
        }

        if (footers.CopyProblem is { } copy)
        {
            _findings.Add(
                ImageFindingKind.Corruption,
                $"The copy of the footer at the start {copy}; the footer at the end is whole.",
                0,
                isRepairing);
            if (isRepairing)
            {
                file.Write(0, footers.Footer.Bytes);
                file.Flush();
            }
        }

        return offsetBytes;
    }

    private void CheckTail(VhdFooters footers, VhdHeader header, VhdBlockTable table, long footerOffsetBytes)
    {
        long endBytes = BlockAllocator.FindEnd(header, table).EndBytes;
        endBytes = (endBytes + VhdLimits.SectorBytes - 1) & -VhdLimits.SectorBytes;
        long unusedBytes = footerOffsetBytes - endBytes;
        if (unusedBytes < header.StrideBytes)
        {
            return;
        }

        bool isCut = repair != ImageRepair.None && !_findings.HasCorruption;
        _findings.Add(
            ImageFindingKind.Leak,
            $"{unusedBytes} bytes between the last block and the end of the file are not used.",
            endBytes,
            isCut);
        if (isCut)
        {
            BlockAllocator.MoveFooterDown(file, footers.Footer, endBytes);
        }
        else
        {
            _findings.LeakedBytes += unusedBytes;
        }
    }

    private ImageReport Report(int blockCount) => _findings.ToReport(file.Path, ImageFormat.Vhd) with
    {
        TotalBlockCount = blockCount,
        AllocatedBlockCount = _allocatedBlocks,
        FragmentedBlockCount = _fragmentedBlocks,
    };
}
