// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Checking;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Checking;

/// <summary>Examines an image's metadata and repairs it.</summary>
/// <remarks>
/// <para>A repair is made in this order, with a flush after each step; a crash anywhere leaves an image that can be repaired
/// again, because no step needs the one before it to be known:</para>
/// <code>
/// 1  the dirty bit is set (version 3), so that every program knows
/// 2  entries that lead nowhere are replaced; what is left has been counted then
/// 3  refcounts are corrected in place, or written anew behind the end of the file and then made the image's
/// 4  "copied" flags are made to agree with the refcounts
/// 5  the image is examined again; only if nothing is found the dirty and corrupt bits are cleared
/// </code>
/// <para>What a report calls repaired is what the second examination no longer finds.</para>
/// <para>Threading. One thread; nobody else uses the image.</para>
/// </remarks>
internal static class Qcow2Check
{
    private const ulong Marks = Qcow2Header.DirtyBit | Qcow2Header.CorruptBit;

    /// <summary>Examines an image and repairs what was asked for.</summary>
    /// <exception cref="BlockException">WrongFormat, Unsupported, Corrupt, Truncated: the image can't be examined; read and write
    /// errors.</exception>
    public static ImageReport Run(IContainerFile file, ImageRepair repair, CancellationToken cancellationToken)
    {
        CheckedHeader header = CheckedHeader.Read(file);
        CheckPass before = CheckPass.Examine(file, header, cancellationToken);
        AddMarks(header, before.Log);
        bool isRepairing = repair switch
        {
            ImageRepair.None => false,
            ImageRepair.Leaks => before.Log.LeakCount != 0 && CanFreeLeaks(before),
            _ => !before.Log.IsClean,
        };
        if (!isRepairing)
        {
            return Report(file, header, before, before);
        }

        if (repair == ImageRepair.Leaks)
        {
            before.Refcounts!.Correct(before.Uses, isLoweringOnly: true);
            file.Flush();
        }
        else
        {
            RepairAll(file, header, before);
        }

        CheckedHeader now = CheckedHeader.Read(file);
        CheckPass after = CheckPass.Examine(file, now, CancellationToken.None);
        if (repair == ImageRepair.All && after.Log.IsClean)
        {
            SetIncompatible(file, now, now.IncompatibleFeatures & ~Marks);
        }
        else
        {
            SetIncompatible(file, now, header.IncompatibleFeatures);
            AddMarks(header, after.Log);
        }

        return Report(file, now, before, after);
    }

    /// <summary>Counts the refcounts of a dirty image anew, which is what a program that writes refcounts lazily leaves to the
    /// next one, and takes the dirty bit away.</summary>
    /// <param name="file">The image, open for writing.</param>
    /// <param name="limits">The limits of an untrusted image; null for a trusted one.</param>
    /// <exception cref="BlockException">Corrupt: more than refcounts and their flags is wrong; LimitExceeded: the time to examine the image
    /// is over; in either case nothing has been changed.</exception>
    public static void RebuildRefcounts(IContainerFile file, UntrustedLimits? limits = null)
    {
        CheckedHeader header = CheckedHeader.Read(file);
        CheckPass before = UntrustedLimits.WithinCheckTime(
            limits, file.Path, time => CheckPass.Examine(file, header, time), CancellationToken.None);
        if (before.Log.FirstMappingFault is { } fault)
        {
            throw FormatFault.Qcow2.Corrupt(file.Path, fault.Message, fault.OffsetBytes);
        }

        if (!before.Log.IsClean)
        {
            RepairAll(file, header, before);
        }

        SetIncompatible(file, header, header.IncompatibleFeatures & ~Qcow2Header.DirtyBit);
    }

    private static void RepairAll(IContainerFile file, CheckedHeader header, CheckPass before)
    {
        SetIncompatible(file, header, header.IncompatibleFeatures | Qcow2Header.DirtyBit);
        if (!before.AreBitmapsSound)
        {
            GiveBitmapsUp(file, header);
            header = CheckedHeader.Read(file);
        }

        EntryJudge judge = new(header);
        foreach (long cluster in before.SharedTables)
        {
            (before.Mapping.LooksLikeNoTable(cluster) ? judge.CertainData : judge.CertainTables).Add(cluster);
        }

        CheckPass left = CheckPass.Fix(file, header, judge);
        file.Flush();
        if (before.Refcounts!.MustRebuild)
        {
            RefcountRebuild.Run(file, header, left.Uses);
        }
        else
        {
            before.Refcounts.CountInto(left.Uses);
            before.Refcounts.Correct(left.Uses, isLoweringOnly: false);
            file.Flush();
        }

        left.Mapping.FixCopied(left.Uses);
        file.Flush();
    }

    // Where entries that lead to data are damaged, clusters look unused that hold it: those are not given away.
    private static bool CanFreeLeaks(CheckPass pass) =>
        pass.Log.Count(FindingCause.Mapping) == 0 && !pass.Refcounts!.MustRebuild;

    private static void AddMarks(CheckedHeader header, CheckLog log)
    {
        if ((header.IncompatibleFeatures & Qcow2Header.DirtyBit) != 0)
        {
            log.Add(
                FindingCause.Mark,
                "The dirty bit (bit 0 of incompatible_features) is set: a program died while it had the image open",
                CheckedHeader.IncompatibleField);
        }

        if ((header.IncompatibleFeatures & Qcow2Header.CorruptBit) != 0)
        {
            log.Add(
                FindingCause.Mark,
                "The corrupt bit (bit 1 of incompatible_features) is set: a program found the image damaged",
                CheckedHeader.IncompatibleField);
        }
    }

    private static void SetIncompatible(IContainerFile file, CheckedHeader header, ulong features)
    {
        if (header.Version >= 3 && CheckedHeader.Read(file).IncompatibleFeatures != features)
        {
            WriteWord(file, CheckedHeader.IncompatibleField, features);
        }
    }

    private static void GiveBitmapsUp(IContainerFile file, CheckedHeader header) =>
        WriteWord(file, Qcow2Header.AutoclearField, header.AutoclearFeatures & ~CheckedHeader.BitmapsBit);

    private static void WriteWord(IContainerFile file, long offsetBytes, ulong value)
    {
        Span<byte> word = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(word, value);
        file.Write(offsetBytes, word);
        file.Flush();
    }

    private static ImageReport Report(IContainerFile file, CheckedHeader header, CheckPass before, CheckPass after)
    {
        HashSet<ImageFinding> left = [.. after.Log.Findings];
        List<ImageFinding> findings = before.Log.Findings.ConvertAll(
            finding => left.Contains(finding) ? finding : finding with { IsRepaired = true });
        findings.AddRange(left.Except(findings));
        return new ImageReport
        {
            Path = file.Path,
            Format = ImageFormat.Qcow2,
            LeakCount = after.Log.LeakCount,
            CorruptionCount = after.Log.CorruptionCount,
            RepairedLeakCount = Math.Max(0, before.Log.LeakCount - after.Log.LeakCount),
            RepairedCorruptionCount = Math.Max(0, before.Log.CorruptionCount - after.Log.CorruptionCount),
            LeakedBytes = after.Log.UnusedClusters << header.ClusterBits,
            TotalBlockCount = (header.SizeBytes + header.ClusterBytes - 1) >> header.ClusterBits,
            AllocatedBlockCount = after.Mapping.AllocatedCount,
            FragmentedBlockCount = after.Mapping.FragmentedCount,
            CompressedBlockCount = after.Mapping.CompressedCount,
            Findings = [.. findings.Take(ImageReport.MaximumFindings)],
        };
    }
}
