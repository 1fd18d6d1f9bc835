// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Images;

/// <summary>A session that an image's marker names.</summary>
/// <param name="Id">The id of its log.</param>
/// <param name="Name">DISK/NAME, for messages.</param>
/// <param name="LogPath">Full path of its log.</param>
internal sealed record MarkedSession(Guid Id, string Name, string LogPath);

/// <summary>IMAGE.fleece-sessions: the file beside an image that says which sessions go on when the image is mounted again.</summary>
/// <remarks>
/// <para>A write to the image that those sessions do not see takes their point in time from them; so whatever opens the image for writing
/// looks here first. It lies beside the file that a link leads to, for its user alone, and is replaced in one step.</para>
/// <para>Its time of last change is a witness: while the disk is mounted it follows the image's.</para>
/// <para>Threading. All members from any thread; one process, which has the image open for writing, changes a marker.</para>
/// </remarks>
/// <param name="Path">The marker.</param>
/// <param name="Sessions">What it names.</param>
/// <param name="ModifiedTicks">When it was written or touched last, as <see cref="DateTime.Ticks"/> in UTC.</param>
/// <param name="Fault">Why it can't be read, as a part of a sentence; null when it can. It names no session then, and guards the
/// image all the same.</param>
internal sealed record SessionMarker(string Path, IReadOnlyList<MarkedSession> Sessions, long ModifiedTicks, string? Fault)
{
    /// <summary>How the process that had the image last found it and the logs; null where it has not said so.</summary>
    public ImageStamp? Stamp { get; init; }

    /// <summary>The end of a marker's name.</summary>
    public const string Extension = ".fleece-sessions";

    /// <summary>Where the marker of an image lies, whichever link leads to the image.</summary>
    /// <remarks>Of an image that can't be looked at, because its folder is gone for one, beside the path as it is.</remarks>
    public static string PathFor(string imagePath) => FileNames.Beside(System.IO.Path.GetFullPath(imagePath), Extension);

    /// <summary>Reads the marker of an image; null when it has none.</summary>
    /// <exception cref="BlockException">Why it can't be looked at.</exception>
    public static SessionMarker? Read(string imagePath)
    {
        string path = PathFor(imagePath);
        if (!System.IO.Path.Exists(path))
        {
            return null; // Most images have none, and an exception for each would be slow.
        }

        try
        {
            // Its time first: it is touched while it is read, and the older time vouches for less.
            long modifiedTicks = FileEvidence.Read(path).ModifiedTicks;
            using LocalFile file = LocalFile.Open(path, isReadOnly: true);
            byte[] bytes = new byte[Math.Min(file.LengthBytes, SessionMarkerFormat.MaximumBytes + 1)];
            int readBytes = file.ReadUpTo(0, bytes);
            IReadOnlyList<MarkedSession> sessions = SessionMarkerFormat.Parse(
                bytes.AsSpan(0, readBytes), out ImageStamp? stamp, out string? fault);
            return new SessionMarker(path, sessions, modifiedTicks, fault) { Stamp = stamp };
        }
        catch (BlockException e) when (e.Kind == BlockErrors.NotFound && !System.IO.Path.Exists(path))
        {
            return null;
        }
    }

    /// <summary>Adds a session, durably. The image is open for writing, and each other session that the marker names was judged.</summary>
    /// <exception cref="BlockException">Why it can't be written. The marker is as it was then.</exception>
    public static void AddEntry(string imagePath, MarkedSession session)
    {
        SessionMarker? present = Read(imagePath);
        if (present?.Fault is not null)
        {
            throw Refused(imagePath, present, []);
        }

        IEnumerable<MarkedSession> others = present?.Sessions.Where(other => other.Id != session.Id) ?? [];
        Write(PathFor(imagePath), [.. others, session], present?.Stamp, modifiedTicks: null);
    }

    /// <summary>Removes a session, durably, and the marker with its last one; the time of last change stays. No error when it is not
    /// there.</summary>
    /// <remarks>On a full file system the marker is written in its place. A system that stops meanwhile may leave it damaged then, and a
    /// damaged marker guards the image.</remarks>
    /// <exception cref="BlockException">Why it can't be written. The marker is as it was then.</exception>
    public static void RemoveEntry(string imagePath, Guid id)
    {
        if (Read(imagePath) is not { Fault: null } present || !present.Sessions.Any(session => session.Id == id))
        {
            return;
        }

        MarkedSession[] others = [.. present.Sessions.Where(session => session.Id != id)];
        if (others.Length == 0)
        {
            Discard(imagePath);
        }
        else
        {
            // As a witness for the others it says no more than before.
            try
            {
                Write(present.Path, others, present.Stamp, present.ModifiedTicks);
            }
            catch (BlockException e) when (e.Kind == BlockErrors.NoSpace)
            {
                if (!TryWriteInPlace(present, others))
                {
                    throw;
                }
            }
        }
    }

    /// <summary>Removes the marker, durably: none of its sessions can be resumed any more.</summary>
    /// <exception cref="BlockException">Why it can't be removed.</exception>
    public static void Discard(string imagePath) => FileNames.DeleteDurably(PathFor(imagePath));

    /// <summary>Says that this process has changed the image until now, and how it found it. At most once a second while guests write.
    /// </summary>
    /// <param name="imagePath">The image.</param>
    /// <param name="notBeforeTicks">As for <see cref="FileEvidence.WitnessTime"/>.</param>
    /// <param name="logs">Where the logs of its sessions are; null leaves what the marker says of them.</param>
    /// <exception cref="BlockException">Why it can't be said.</exception>
    public static void Touch(string imagePath, long notBeforeTicks, IReadOnlyList<LogPosition>? logs = null)
    {
        string path = PathFor(imagePath);
        try
        {
            if (OperatingSystem.IsWindows())
            {
                // An open file would be in the way of a reader, and no session outlives a kill there.
                FileNames.Touch(path, notBeforeTicks);
                return;
            }

            // No lock that is in the way of a reader.
            ImageStamp stamp = ImageStamp.Of(imagePath, logs ?? []);
            long latestTicks = Math.Max(notBeforeTicks, stamp.ImageTicks);
            stamp = stamp with { LatestTicks = latestTicks };
            using SafeFileHandle handle =
                File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            byte[] bytes = new byte[Math.Min(RandomAccess.GetLength(handle), SessionMarkerFormat.MaximumBytes)];
            int readBytes = RandomAccess.Read(handle, bytes, 0);
            int textBytes = SessionMarkerFormat.FindTextEnd(bytes.AsSpan(0, readBytes));
            if (textBytes != 0)
            {
                int atBytes = ImageStamp.OffsetBehind(textBytes);
                if (logs is null && readBytes > atBytes && ImageStamp.Decode(bytes.AsSpan(atBytes, readBytes - atBytes)) is { } present)
                {
                    stamp = stamp with { Logs = present.Logs };
                }

                RandomAccess.Write(handle, stamp.Encode(), atBytes);
            }

            // A write gives it the time of the storage's clock, by which the image has its time too.
            if (textBytes == 0 || latestTicks > DateTime.UtcNow.Ticks)
            {
                File.SetLastWriteTimeUtc(handle, FileEvidence.WitnessTime(latestTicks));
            }
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, path, "set the time of");
        }
    }

    /// <summary>As <see cref="Touch"/>: a marker that gets older than what it vouches for is not believed.</summary>
    public static void TryTouch(string imagePath, long notBeforeTicks, IReadOnlyList<LogPosition>? logs = null)
    {
        try
        {
            Touch(imagePath, notBeforeTicks, logs);
        }
        catch (BlockException)
        {
            return;
        }
    }

    /// <summary>Refuses an image whose marker names sessions that would lose their point in time, and one whose marker can't be read.
    /// </summary>
    /// <param name="imagePath">The image, which the caller holds for writing, or is to make.</param>
    /// <param name="resumed">Sessions that the caller resumes; null for none.</param>
    /// <param name="discards">True to remove a marker that would refuse, instead.</param>
    /// <exception cref="BlockException"><see cref="ImageErrors.ImageHasSession"/></exception>
    public static void Check(string imagePath, IReadOnlySet<Guid>? resumed = null, bool discards = false)
    {
        if (Read(imagePath) is not { } marker)
        {
            return;
        }

        MarkedSession[] others = [.. marker.Sessions.Where(session => resumed?.Contains(session.Id) != true)];
        if (others.Length == 0 && marker.Fault is null)
        {
            return;
        }

        if (!discards)
        {
            throw Refused(imagePath, marker, others);
        }

        FailPoint.Reach("marker-discard");
        if (others.Length == marker.Sessions.Count)
        {
            Discard(imagePath);
            return;
        }

        foreach (MarkedSession other in others)
        {
            RemoveEntry(imagePath, other.Id);
        }
    }

    private static byte[] Encode(IReadOnlyList<MarkedSession> sessions, ImageStamp? stamp)
    {
        byte[] text = SessionMarkerFormat.Encode(sessions);
        return stamp is null ? text : [.. text, .. new byte[ImageStamp.OffsetBehind(text.Length) - text.Length], .. stamp.Encode()];
    }

    // One write over the longer text that is there, with zeros up to its end. The stamp stays where it is, unless its place moves; the file
    // may have a hole before it, and so no room there.
    private static bool TryWriteInPlace(SessionMarker present, IReadOnlyList<MarkedSession> sessions)
    {
        FailPoint.Reach("marker-in-place");
        byte[] content = Encode(sessions, present.Stamp);
        int textBytes = SessionMarkerFormat.FindTextEnd(content);
        using (LocalFile file = LocalFile.Open(present.Path, isReadOnly: false))
        {
            byte[] bytes = new byte[file.LengthBytes];
            file.Read(0, bytes);
            int oldTextBytes = SessionMarkerFormat.FindTextEnd(bytes);
            if (textBytes > oldTextBytes)
            {
                return false;
            }

            int stampBytes = ImageStamp.OffsetBehind(oldTextBytes);
            int endBytes = present.Stamp is null || stampBytes == ImageStamp.OffsetBehind(textBytes) ? oldTextBytes : bytes.Length;
            bytes.AsSpan(0, endBytes).Clear();
            content.AsSpan(0, Math.Min(content.Length, endBytes)).CopyTo(bytes);
            file.Write(0, bytes.AsSpan(0, endBytes));
            file.Flush();
        }

        KeepPrivate(present.Path, present.ModifiedTicks);
        FailPoint.Reach("marker-written-in-place");
        return true;
    }

    private static void Write(string path, IReadOnlyList<MarkedSession> sessions, ImageStamp? stamp, long? modifiedTicks)
    {
        string partialPath = path + WholeFile.Partial;
        try
        {
            WholeFile.WritePartial(path, Encode(sessions, stamp));
            KeepPrivate(partialPath, modifiedTicks);
            FailPoint.Reach("marker-written");
            WholeFile.Publish(path, overwrite: true);
            FailPoint.Reach("marker-published");
        }
        catch
        {
            FileNames.TryDelete(partialPath);
            throw;
        }
    }

    private static void KeepPrivate(string path, long? modifiedTicks)
    {
        try
        {
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }

            if (modifiedTicks is { } ticks)
            {
                File.SetLastWriteTimeUtc(path, new DateTime(ticks, DateTimeKind.Utc));
            }
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, path, "set the permissions of");
        }

        FileNames.FlushClosed(path);
    }

    /// <summary>The command that mounts an image and gives all its sessions up, under the name that the disk had.</summary>
    /// <param name="imagePath">The image.</param>
    /// <param name="sessionName">One of them, DISK/NAME; null where none is known.</param>
    internal static string DiscardCommand(string imagePath, string? sessionName)
    {
        // A disk is named as its image's file by default, and that may be no name.
        string fileName = System.IO.Path.GetFileNameWithoutExtension(imagePath);
        string diskName = sessionName?.Split('/')[0] ?? (ObjectNames.IsName(fileName) ? fileName : "disk");
        string name = diskName == fileName ? string.Empty : $" -Name {PowerShellText.Argument(diskName)}";
        return $"Mount-FleeceDisk {PowerShellText.Literal(imagePath)}{name} -DiscardSessions";
    }

    private static BlockException Refused(string imagePath, SessionMarker marker, MarkedSession[] sessions)
    {
        string discard = DiscardCommand(imagePath, sessions.Length == 0 ? null : sessions[0].Name);
        MarkedSession[] present = [.. sessions.Where(session => !IsGone(session.LogPath))];
        return new BlockException(
            ImageErrors.ImageHasSession,
            marker.Fault is { } fault
                ? $"'{imagePath}' may have sessions that go on when it is mounted again, and '{marker.Path}', which names them, " +
                    $"can't be used: {fault}. Put that file back if you have a copy. {discard} gives the sessions up."
            : present.Length == 0
                ? $"'{imagePath}' has {Describe(sessions)}. Nothing is at the {(sessions.Length == 1 ? "log's path" : "logs' paths")}, " +
                    "so there is nothing to resume. If the state directory was moved, put it back; else the one way left is to give all " +
                    $"sessions of the image up: {discard}."
                : $"'{imagePath}' has {Describe(sessions)} that would lose the point in time when the image is changed or replaced " +
                    $"here. To go on, start the host that keeps {(sessions.Length == 1 ? "that log" : "those logs")}, or run " +
                    $"Resume-FleeceSession -StatePath {PowerShellText.Literal(StateOf(present[0].LogPath))}. To give up all sessions of " +
                    $"the image, run {discard}, or delete '{marker.Path}'.",
            imagePath,
            operation: "open");
    }

    // A folder that this user may not look into says nothing.
    private static bool IsGone(string path)
    {
        try
        {
            _ = File.GetAttributes(path);
            return false;
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            return e is FileNotFoundException or DirectoryNotFoundException;
        }
    }

    private static string Describe(MarkedSession[] sessions)
    {
        string names = string.Join(", ", sessions.Select(session => $"'{session.Name}' (its log is '{session.LogPath}')"));
        return sessions.Length == 1 ? $"the session {names}" : $"the sessions {names}";
    }

    // STATE/sessions/ID.log
    private static string StateOf(string logPath) =>
        System.IO.Path.GetDirectoryName(System.IO.Path.GetDirectoryName(logPath)) ?? logPath;
}
