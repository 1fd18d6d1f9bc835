// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Images;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Disks.Resuming;

/// <summary>A session as its log had it when it was read. No file stays open.</summary>
/// <remarks>Threading. Not changed once it is made; the calls that change the log open and lock it, and fail with
/// <see cref="BlockErrors.InUse"/> while a session has it.</remarks>
internal sealed record StoredSession
{
    /// <summary>Of the log, from its name.</summary>
    public required Guid Id { get; init; }

    /// <summary>Full path of the log.</summary>
    public required string Path { get; init; }

    /// <summary>True when a process, or this one, has the session running.</summary>
    public bool IsInUse { get; init; }

    /// <summary>Why the log can't be used, as a part of a sentence; null when its head is whole.</summary>
    public string? Fault { get; init; }

    /// <summary>True when the system does not let this process read the log, which says nothing about the log itself.</summary>
    public bool IsUnreadable { get; init; }

    /// <summary>True when a newer Fleece wrote it, which alone may change it.</summary>
    public bool IsNewer { get; init; }

    /// <summary>True when the file is a copy of the one that the session had, and may say what was so at an earlier time.</summary>
    public bool IsCopy { get; init; }

    /// <summary>How far it has come; null where its words do not tell.</summary>
    public LogPosition? Position { get; init; }

    /// <summary>The part that never changes; null with a <see cref="Fault"/>.</summary>
    public SessionDescription? Description { get; init; }

    /// <summary>The state; meaningless with a <see cref="Fault"/>.</summary>
    public StoredState State { get; init; }

    /// <summary>The instant; null when it has not come.</summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>The run of the system in which it was started, or resumed last.</summary>
    public Guid BootId { get; init; }

    /// <summary>How an orderly end left the files; null in states other than Suspended.</summary>
    public SessionEvidence? Evidence { get; init; }

    /// <summary>Why the point in time was lost; null while it is whole.</summary>
    public BlockException? BrokenBy { get; init; }

    /// <summary>Why it can't be resumed; null in states other than Lost.</summary>
    public string? LostReason { get; init; }

    /// <summary>Reads the head of a log, whether or not a session has it.</summary>
    /// <param name="path">The log.</param>
    /// <param name="id">The id in its name.</param>
    /// <returns>Null when it is not there any more.</returns>
    public static StoredSession? Read(string path, Guid id)
    {
        try
        {
            if (OperatingSystem.IsLinux() && PosixStat.TryLook(path, out PosixStat.FileLook look) && !look.IsRegular)
            {
                return new StoredSession { Id = id, Path = path, Fault = "it is no regular file" };
            }

            using SafeFileHandle handle = OpenUnlocked(path);
            bool isInUse = OperatingSystem.IsLinux() && ImageLocks.IsWrittenElsewhere(handle);
            byte[] bytes = ReadHead(handle);
            SessionLogHead? head = SessionLogHead.Parse(bytes, id, out string? fault, out bool isNewer);
            return new StoredSession
            {
                Id = id,
                Path = path,
                IsInUse = isInUse,
                Fault = fault,
                IsNewer = isNewer,
                IsCopy = head is not null && head.OwnFileId != FileEvidence.Read(path).FileId,
                Position = head is { RecordsBytes: { } recordsBytes } ? new LogPosition(id, head.Maps.Number, recordsBytes) : null,
                Description = head?.Description,
                State = head?.State ?? default,
                StartedAt = head?.Slot.StartedAt,
                BootId = head?.Slot.BootId ?? default,
                Evidence = head is { State: StoredState.Suspended } ? head.Slot.Evidence : null,
                BrokenBy = head?.BrokenBy,
                LostReason = head is { State: StoredState.Lost } ? head.LostReason : null,
            };
        }
        catch (Exception e) when (e is BlockException || FileErrors.IsFromSystem(e))
        {
            BlockException failure = e as BlockException ?? FileErrors.From(e, path, "read");
            return failure.Kind == BlockErrors.NotFound
                ? null
                : new StoredSession
                {
                    Id = id,
                    Path = path,
                    Fault = $"it can't be read ({failure.Message.TrimEnd('.')})",
                    IsUnreadable = true,
                };
        }
    }

    /// <summary>Opens the log to go on with it: reads the maps and all records.</summary>
    /// <param name="fault">What is wrong with the log or its maps, as a part of a sentence; null when nothing is.</param>
    /// <returns>The log, which the caller owns, and the maps as the last note left them; null when something is wrong.</returns>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/>, or why it can't be read.</exception>
    public (SessionLog Log, PointInTimeMaps Maps)? TakeOver(out string? fault) => SessionLog.Open(Path, Id, out fault);

    /// <summary>Stores that the session can't be resumed, durably. Nothing for one that is lost already, or whose log is damaged or newer.
    /// </summary>
    /// <param name="reason">Why, as a sentence; a very long one is cut.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/>, or why it can't be stored.</exception>
    public void StoreLost(string reason)
    {
        if (Fault is not null || State == StoredState.Lost)
        {
            return;
        }

        using SessionLog? log = SessionLog.OpenHead(Path, Id);
        log?.StoreLost(reason);
    }

    /// <summary>Removes the log with its maps, durably, whatever is wrong with it. Its temp image and the marker's entry are the caller's.
    /// </summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/>, or why it can't be removed.</exception>
    public void Delete()
    {
        using (LocalFile log = LocalFile.Open(Path, isReadOnly: false))
        {
            // Nothing else: it says that no session has it.
        }

        FileNames.DeleteDurably(Path);
        foreach (string mapsPath in SessionFolder.MapsOf(Path))
        {
            FileNames.Delete(mapsPath);
        }
    }

    // A lock would be in the way of the process that resumes it, and one of a session that runs is in the way of this.
    private static SafeFileHandle OpenUnlocked(string path) => OperatingSystem.IsWindows()
        ? File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete)
        : PosixFlush.OpenUnlocked(path, out int errno) ?? throw FileErrors.FromCode(errno, path, "open");

    private static byte[] ReadHead(SafeFileHandle handle)
    {
        byte[] bytes = new byte[SessionLogLayout.HeadBytes];
        int readBytes = Fill(handle, bytes);
        bytes = new byte[SessionLogHead.BytesNeeded(bytes.AsSpan(0, readBytes))];
        readBytes = Fill(handle, bytes);
        return readBytes == bytes.Length ? bytes : bytes[..readBytes];
    }

    private static int Fill(SafeFileHandle handle, Span<byte> bytes)
    {
        int filledBytes = 0;
        while (filledBytes < bytes.Length && RandomAccess.Read(handle, bytes[filledBytes..], filledBytes) is > 0 and int readBytes)
        {
            filledBytes += readBytes;
        }

        return filledBytes;
    }
}
