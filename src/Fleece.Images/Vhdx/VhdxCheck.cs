// SPDX-License-Identifier: MIT
using Fleece.Images.Checking;
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>Examines an image's structures, and repairs what has a second copy or only wastes space.</summary>
/// <remarks>
/// <para>Checked: both headers, both region tables, the metadata, the log, and every entry of the BAT: state, place, overlaps, the
/// sector bitmaps of partially present blocks, and space behind the last block. Free space between blocks is no finding: it is used
/// again when the image is written to.</para>
/// <para>Repaired: with <see cref="ImageRepair.Leaks"/> a log is replayed and space at the end given back; with
/// <see cref="ImageRepair.All"/> also a damaged copy of the header or of the region table is written from the good one, and
/// a log without any whole entry is cleared. Damaged BAT entries are only reported: nothing says what they should be.</para>
/// </remarks>
internal sealed class VhdxCheck(IContainerFile file, ImageRepair repair)
{
    private readonly FindingList _findings = new();

    public ImageReport Run(CancellationToken cancellationToken)
    {
        VhdxStructure structure = VhdxStructure.Read(file, isLogNeeded: false);
        BatScan scan = new(
            structure.Replayed ?? file,
            structure,
            fault => _findings.Add(ImageFindingKind.Corruption, fault.Message, fault.OffsetBytes, isRepaired: false),
            cancellationToken);
        bool isBatSound = !_findings.HasCorruption;
        bool hasDamagedHeader = structure.Headers.HasDamagedCopy;
        if (isBatSound && repair != ImageRepair.None)
        {
            structure.ReplayLog();
        }

        CheckLog(structure, isBatSound);
        CheckEnd(structure, scan, isBatSound);
        CheckCopies(structure, hasDamagedHeader, isBatSound);
        return _findings.ToReport(file.Path, ImageFormat.Vhdx) with
        {
            TotalBlockCount = structure.Metadata.BlockCount,
            AllocatedBlockCount = scan.PresentCount,
            FragmentedBlockCount = scan.FragmentedCount,
        };
    }

    private void CheckLog(VhdxStructure structure, bool isBatSound)
    {
        if (!structure.IsLogLost)
        {
            return;
        }

        bool isRepaired = isBatSound && repair == ImageRepair.All;
        VhdxHeader header = structure.Headers.Current;
        if (isRepaired)
        {
            structure.Headers.Update(current => current with { FileWriteGuid = Guid.NewGuid(), LogGuid = Guid.Empty });
        }

        _findings.Add(
            ImageFindingKind.Corruption,
            $"The header's log_guid {header.LogGuid} says that there is a log to replay, and it holds no whole entry of that name: the " +
            "last changes may be lost.",
            header.LogOffsetBytes,
            isRepaired);
    }

    // Comes last: whatever was repaired before has written both headers, also where only leaks were to be repaired.
    private void CheckCopies(VhdxStructure structure, bool hasDamagedHeader, bool isBatSound)
    {
        bool isRepaired = isBatSound && repair == ImageRepair.All;
        if (hasDamagedHeader)
        {
            if (isRepaired && structure.Headers.HasDamagedCopy)
            {
                structure.Headers.Rewrite();
            }

            _findings.Add(
                ImageFindingKind.Corruption,
                "One of the two headers does not have the signature 'head' and the right checksum; the other one is good.",
                structure.Headers.DamagedOffsetBytes,
                !structure.Headers.HasDamagedCopy);
        }

        if (structure.Regions.DamagedCopyOffsetBytes is { } copyBytes)
        {
            if (isRepaired)
            {
                structure.Regions.RepairCopy(file);
            }

            _findings.Add(
                ImageFindingKind.Corruption,
                "One of the two region tables does not have the signature 'regi' and the right checksum, or differs from the other, " +
                "which is in use.",
                copyBytes,
                isRepaired);
        }
    }

    private void CheckEnd(VhdxStructure structure, BatScan scan, bool isBatSound)
    {
        long fileBytes = (structure.Replayed ?? file).GetLength();
        long leakedBytes = fileBytes - scan.EndBytes;
        bool canShrink = file.MaximumLengthBytes == long.MaxValue;
        if (leakedBytes < VhdxFormat.MiB || !canShrink)
        {
            return;
        }

        bool isRepaired = isBatSound && repair != ImageRepair.None && structure.Headers.Current.LogGuid == Guid.Empty;
        if (isRepaired)
        {
            structure.Headers.Update(header => header with { FileWriteGuid = Guid.NewGuid() });
            file.SetLength(scan.EndBytes);
            file.Flush();
        }
        else
        {
            _findings.LeakedBytes += leakedBytes;
        }

        _findings.Add(
            ImageFindingKind.Leak,
            $"{leakedBytes} bytes behind the last block, at {scan.EndBytes}, are used by nothing.",
            scan.EndBytes,
            isRepaired);
    }
}
