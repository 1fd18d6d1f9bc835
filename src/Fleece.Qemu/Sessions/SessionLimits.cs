// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Nbd;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Sessions;

/// <summary>What a session of a guest's disk can be asked for: QEMU keeps its snapshot, and has fewer options than Fleece.</summary>
internal static class SessionLimits
{
    private const string Filter = "copy-before-write";

    // "cluster size": block-copy of QEMU takes 64 KiB at least.
    private const int MinimumGranuleBytes = 64 * 1024;
    private const int MaximumGranuleBytes = 2 * 1024 * 1024;

    // QEMU before 9.1 counted nanoseconds in 32 bits: commit 10b1e09e.
    private static readonly TimeSpan LongestOldTimeout = TimeSpan.FromSeconds(4);

    /// <summary>Refuses what QEMU can't do, by name.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: no QEMU can. <see cref="QemuErrors.FeatureMissing"/>:
    /// this one can't.</exception>
    public static void Check(SessionOptions options, QmpSchema schema, QemuVersion version)
    {
        if (options.Name is { } name)
        {
            ObjectNames.Check(name);
        }

        Refuse(options.Limits.TempBytes is not null, "-TempLimitBytes", "QEMU counts no old data. Give temp a file system of that size");
        Refuse(options.Limits.TempWarningPercent is not null, "-TempWarningPercent", "QEMU counts no old data");
        Refuse(options.Limits.MaxGuestDelay is not null, "-MaxGuestDelay", "QEMU holds no write back but for its copy");
        Refuse(options.Consumers.Count != 0, "-Consumer", "QEMU's snapshots have one reader");
        Refuse(options.Ranges is not null, "-Range", "QEMU limits a snapshot by a bitmap alone: -Bitmap");
        Refuse(NbdUri.IsUri(options.TempPath), "an NBD URI in -TempPath", "QEMU gets a file of this machine for old data");
        CheckTimeout(options.Limits.Timeout, schema, version);
        CheckGranule(options.GranuleSizeBytes, schema, version);
        if (options.OnCopyError == CopyErrorPolicy.BreakSnapshot)
        {
            Need(schema, version, "on-cbw-error", "-OnCopyError BreakSnapshot", "Ask for BreakGuestWrite");
        }
    }

    private static void CheckTimeout(TimeSpan? timeout, QmpSchema schema, QemuVersion version)
    {
        if (timeout is not { } time)
        {
            return;
        }

        Refuse(
            time <= TimeSpan.Zero || time.Ticks % TimeSpan.TicksPerSecond != 0 || time.TotalSeconds > uint.MaxValue,
            $"-CopyTimeout {time}",
            "QEMU takes whole seconds, one or more");
        Need(schema, version, "cbw-timeout", "-CopyTimeout", "Leave it out");
        if (version.IsBefore(9, 1) && time > LongestOldTimeout)
        {
            throw Missing(
                version,
                $"-CopyTimeout {time}",
                $"takes a longer time than {LongestOldTimeout.TotalSeconds} s for a much shorter one. Ask " +
                "for at most that, or leave it out");
        }
    }

    private static void CheckGranule(int? granuleBytes, QmpSchema schema, QemuVersion version)
    {
        if (granuleBytes is not { } bytes)
        {
            return;
        }

        Refuse(
            bytes is < MinimumGranuleBytes or > MaximumGranuleBytes || !BitOperations.IsPow2(bytes),
            $"-GranuleSizeBytes {bytes}",
            "QEMU copies powers of two from 65536 to 2097152 bytes");
        if (bytes > MinimumGranuleBytes)
        {
            Need(schema, version, "min-cluster-size", "-GranuleSizeBytes of more than 65536", "Leave it out");
        }
    }

    private static void Need(QmpSchema schema, QemuVersion version, string option, string parameter, string advice)
    {
        if (!schema.HasDriverOption(Filter, option))
        {
            throw Missing(version, parameter, $"has no '{option}' for its filter. {advice}");
        }
    }

    private static BlockException Missing(QemuVersion version, string parameter, string clause) => new(
        QemuErrors.FeatureMissing, $"{parameter} can't be had of QEMU {version}, which {clause}.");

    private static void Refuse(bool isAsked, string parameter, string reason)
    {
        if (isAsked)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument, $"A session of a guest that QEMU runs can't have {parameter}: {reason}.");
        }
    }
}
