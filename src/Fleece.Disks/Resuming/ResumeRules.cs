// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks.Storage;
using Fleece.Disks.Temp;
using Fleece.Images;

namespace Fleece.Disks.Resuming;

/// <summary>The step that a mount takes with a session that it finds.</summary>
internal enum ResumeStep
{
    /// <summary>It goes on.</summary>
    Resume,

    /// <summary>Its instant has not come: its temp and its log go, and bitmaps are as before its start.</summary>
    Undo,

    /// <summary>It was being stopped with success: bitmaps take that turn, then temp and log go.</summary>
    FinishSuccess,

    /// <summary>It was being stopped without success.</summary>
    FinishFailure,

    /// <summary>It can't go on. Temp and log are kept.</summary>
    Lose,

    /// <summary>It can't go on now, and can when what it lacks is there again.</summary>
    Wait,

    /// <summary>It is another image's, and its log is left as it is.</summary>
    Leave,
}

/// <summary>A step and, for the last three, why: a sentence for people.</summary>
/// <param name="Step">The step.</param>
/// <param name="Reason">Why.</param>
/// <param name="Advice">For <see cref="ResumeStep.Wait"/>: the way to have what is missing back, as a sentence; null where the reason says
/// it.</param>
internal sealed record ResumeVerdict(ResumeStep Step, string? Reason = null, string? Advice = null);

/// <summary>The disk as a mount finds it, before anything was changed.</summary>
/// <param name="ImagePath">Full path of the image.</param>
/// <param name="Image">Its file before it was opened.</param>
/// <param name="Format">Its format.</param>
/// <param name="SizeBytes">Size of the disk.</param>
/// <param name="Marker">The marker beside the image; null for none.</param>
internal sealed record FoundDisk(string ImagePath, FileEvidence Image, ImageFormat Format, long SizeBytes, SessionMarker? Marker);

/// <summary>Whether a session can go on on the disk that is there. All that decides stands here.</summary>
internal static class ResumeRules
{
    private const int LockAttempts = 20;
    private static readonly TimeSpan LockRetryDelay = TimeSpan.FromMilliseconds(50);

    /// <summary>Judges a session by the head of its log; <see cref="StoredSession.TakeOver"/> then says whether the rest is whole.
    /// </summary>
    public static ResumeVerdict Judge(StoredSession session, FoundDisk disk)
    {
        ArgumentNullException.ThrowIfNull(session);
        ArgumentNullException.ThrowIfNull(disk);
        if (session is { Fault: { } fault })
        {
            return Lose(session.IsNewer
                ? $"Its log '{session.Path}' can't be used: {fault}. Mount the disk with that Fleece or a newer one; nothing has been " +
                    "changed."
                : $"Its log '{session.Path}' can't be used: {fault}.");
        }

        SessionDescription description = session.Description!;
        if (FindOtherFile(description, disk.ImagePath, disk.Image) is { } otherFile)
        {
            return new ResumeVerdict(ResumeStep.Leave, otherFile);
        }

        bool isThisBoot = BootId.IsThisRun(session.BootId);
        switch (session.State)
        {
            case StoredState.Lost:
                return Lose(session.LostReason ?? "It was lost before.");
            case var _ when session.IsCopy:
                return Lose(
                    $"Its log '{session.Path}' is a copy, which may be older than its temp image: the session wrote it to another " +
                    "file.");
            case StoredState.Superseded:
                return Lose(
                    $"Its log '{session.Path}' is an older one, which the session had replaced by a shorter one: it does not tell of " +
                    "what came later.");
            case var _ when IsOlder(session, disk.Marker):
                return Lose(
                    $"Its log '{session.Path}' is an older state of it: the marker '{disk.Marker!.Path}' tells of more than it has. It " +
                    "was put back from a copy, or a snapshot, of its folder.");
            case StoredState.Starting when isThisBoot:
                return new ResumeVerdict(ResumeStep.Undo);
            case StoredState.Starting:
                return Lose("The system stopped while it was being started, so it may have begun and lost what it recorded.");
            case StoredState.EndingSuccess or StoredState.EndingFailure when FindOtherDisk(description, disk) is { } other:
                return Lose(other);
            case StoredState.EndingSuccess or StoredState.EndingFailure when !isThisBoot:
                return Lose("The system stopped while it was being stopped, so what it recorded last may be lost.");
            case StoredState.EndingSuccess:
                return new ResumeVerdict(ResumeStep.FinishSuccess);
            case StoredState.EndingFailure:
                return new ResumeVerdict(ResumeStep.FinishFailure);
            case StoredState.Running when !isThisBoot:
                return Lose(
                    "Its process ended without closing the disk, and the system has been started since (or does not tell), so what it " +
                    "recorded last may be lost.");
        }

        string? reason = FindOtherDisk(description, disk) ?? FindMarkerFault(session, disk) ?? FindImageChange(session, disk) ??
            FindOtherTemp(description);
        return reason is null ? JudgeTemp(session, description, disk) : Lose(reason);
    }

    /// <summary>Why the session is of another image than the one that is opened, as a sentence; null when it is of that one.</summary>
    /// <remarks>An image that was moved is the same file. Files of two file systems may have one identity: where the session's own image
    /// lies at its place, another path leads to another image.</remarks>
    public static string? FindOtherFile(SessionDescription description, string imagePath, FileEvidence image)
    {
        string ownPath = description.ImagePath;
        if (description.ImageFileId != image.FileId)
        {
            return $"Its image was replaced or copied: the file '{imagePath}' has the identity {image.FileId} on its file system, and " +
                $"that of the session had {description.ImageFileId} and lay at '{ownPath}'. With that file back at its place, and the " +
                "files beside it, the session can go on, unless another file was mounted there since: that has ended it.";
        }

        return SessionMarker.PathFor(ownPath) != SessionMarker.PathFor(imagePath) && IsThere(description)
            ? $"It is of the image '{ownPath}', which lies at its place, and not of '{imagePath}'."
            : null;
    }

    /// <summary>Why the files below the image, which show through the snapshot, are not those that the session had, as a sentence; null
    /// when they are, wherever they lie now.</summary>
    public static string? FindParentChange(SessionDescription description, IReadOnlyList<ParentFile> present)
    {
        IReadOnlyList<ParentFile> former = description.Parents;
        for (int i = 0; i < Math.Min(former.Count, present.Count); i++)
        {
            if (former[i].FileId != present[i].FileId)
            {
                return $"The image's parent '{former[i].Path}' was replaced or copied, or the image has another one: the file " +
                    $"'{present[i].Path}' has the identity {present[i].FileId} on its file system, and that of the session had " +
                    $"{former[i].FileId}.";
            }

            if (former[i].Evidence != present[i].Evidence)
            {
                return $"The image's parent '{present[i].Path}' was changed without it: its file has {Describe(present[i].Evidence)}, " +
                    $"and had {Describe(former[i].Evidence)}.";
            }
        }

        return former.Count == present.Count
            ? null
            : $"The image has another chain of parents: {present.Count} files, and {former.Count} when the session was started.";
    }

    private static bool IsOlder(StoredSession session, SessionMarker? marker) =>
        session.Position is { } position && marker is { Fault: null, Stamp.Logs: { } logs } &&
        logs.Any(log => log.Id == session.Id && position.IsBefore(log));

    private static ResumeVerdict Lose(string reason) => new(ResumeStep.Lose, reason);

    private static bool IsThere(SessionDescription description)
    {
        try
        {
            return FileEvidence.Read(description.ImagePath).FileId == description.ImageFileId;
        }
        catch (BlockException)
        {
            return false;
        }
    }

    private static string? FindOtherDisk(SessionDescription description, FoundDisk disk) =>
        description.ImageFormat != disk.Format
            ? $"The image is opened as {disk.Format}, and was a {description.ImageFormat} image."
            : description.DiskSizeBytes != disk.SizeBytes
                ? $"The disk has {disk.SizeBytes} bytes, and had {description.DiskSizeBytes}."
                : null;

    private static string? FindMarkerFault(StoredSession session, FoundDisk disk) => disk.Marker switch
    {
        null => $"The marker '{SessionMarker.PathFor(disk.ImagePath)}' is not there, so the image may have been changed without it.",
        { Fault: { } fault } marker => $"The marker '{marker.Path}' can't be used: {fault}.",
        { } marker when !marker.Sessions.Any(marked => marked.Id == session.Id) =>
            $"The marker '{marker.Path}' does not name it, so it was given up when the disk was mounted.",
        _ => null,
    };

    private static string? FindImageChange(StoredSession session, FoundDisk disk)
    {
        if (session.State == StoredState.Suspended)
        {
            return session.Evidence is not { } evidence ? "Its log does not say how the image was left."
                : evidence.Image == disk.Image ? null
                : $"The image was changed without it: its file has {Describe(disk.Image)}, and Fleece left it with " +
                    $"{Describe(evidence.Image)}.";
        }

        long witnessTicks = disk.Marker!.ModifiedTicks;
        ImageStamp? stamp = disk.Marker.Stamp;
        return !ImageStamp.IsChanged(stamp, disk.Image, witnessTicks)
            ? null
            : $"The image was changed after its process ended: at {Time(disk.Image.ModifiedTicks)}, and Fleece changed it at " +
                $"{Time(stamp?.ImageTicks ?? witnessTicks)} last, and had it until {Time(witnessTicks)}.";
    }

    /// <summary>The way to have a temp image back that is not there.</summary>
    public const string MissingTempAdvice = "Put it back, or mount the volume that has it.";

    /// <summary>Says that a session's temp image is not there.</summary>
    public static string TellMissingTemp(SessionDescription description) =>
        $"Its old data is missing: the temp image '{description.TempPath}' is not there.";

    private static string? FindOtherTemp(SessionDescription description) =>
        description.IsTempOwned && TempFiles.FindOwnFault(description.TempPath, description.Id) is { } fault
            ? $"Its temp image '{description.TempPath}' is not one that Fleece has made for it: {fault}. It is left alone."
            : null;

    // A temp image that is missing, or that another program has open, may be back at the next mount.
    private static ResumeVerdict JudgeTemp(StoredSession session, SessionDescription description, FoundDisk disk)
    {
        FileEvidence temp;
        try
        {
            temp = ReadUnused(description.TempPath);
        }
        catch (BlockException e)
        {
            return e.Kind == BlockErrors.NotFound
                ? new ResumeVerdict(ResumeStep.Wait, TellMissingTemp(description), MissingTempAdvice)
                : new ResumeVerdict(ResumeStep.Wait, $"Its old data can't be used. {e.Message}");
        }

        if (temp.FileId != description.TempFileId)
        {
            return Lose($"Its temp image '{description.TempPath}' was replaced or copied.");
        }

        if (session.State == StoredState.Suspended)
        {
            return session.Evidence?.Temp == temp ? new ResumeVerdict(ResumeStep.Resume) : Lose(
                $"Its temp image '{description.TempPath}' was changed: it has {Describe(temp)}, and Fleece left it with " +
                $"{Describe(session.Evidence?.Temp ?? default)}.");
        }

        // Temp may lie on storage with another clock.
        ImageStamp? stamp = disk.Marker!.Stamp;
        long witnessTicks = Math.Max(disk.Marker.ModifiedTicks, Math.Max(stamp?.ClockTicks ?? 0, stamp?.LatestTicks ?? 0));
        return !temp.IsChangedAfter(witnessTicks) ? new ResumeVerdict(ResumeStep.Resume) : Lose(
            $"Its temp image '{description.TempPath}' was changed after its process ended: at {Time(temp.ModifiedTicks)}, and Fleece " +
            $"had it until {Time(witnessTicks)}.");
    }

    // A process that was killed gives its locks back one by one, that of the image perhaps before this one.
    private static FileEvidence ReadUnused(string path)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                using LocalFile file = LocalFile.Open(path, isReadOnly: false);
                return FileEvidence.Read(path);
            }
            catch (BlockException e) when (e.Kind == BlockErrors.InUse && attempt < LockAttempts)
            {
                Thread.Sleep(LockRetryDelay);
            }
        }
    }

    private static string Describe(FileEvidence file) => $"{file.LengthBytes} bytes and the time {Time(file.ModifiedTicks)}";

    // A log may name a time that no clock has.
    private static string Time(long ticks) => ticks >= DateTime.MinValue.Ticks && ticks <= DateTime.MaxValue.Ticks
        ? new DateTime(ticks, DateTimeKind.Utc).ToString("O", CultureInfo.InvariantCulture)
        : $"an impossible one ({ticks.ToString(CultureInfo.InvariantCulture)} units of 100 ns since the year 1)";
}
