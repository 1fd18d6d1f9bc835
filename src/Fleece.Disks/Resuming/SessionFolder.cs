// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.Disks.Resuming;

/// <summary>The folder that has the logs of sessions: STATE/sessions.</summary>
/// <remarks>Threading. All members from any thread; several processes may have one folder.</remarks>
internal sealed class SessionFolder
{
    // Which image each log is of, which never changes: a mount opens those of its own image alone.
    private readonly ConcurrentDictionary<Guid, string> _images = [];

    private SessionFolder(string path) => Path = path;

    /// <summary>Full path of the folder.</summary>
    public string Path { get; }

    /// <summary>Takes a folder, which is made where it is missing, for its user alone. Starts over several disks whose leader had come to
    /// its instant are completed, and what killed processes have left half-made is removed.</summary>
    /// <param name="path">The folder; the one that holds it must be there.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.PermissionDenied"/>: others can write to it, or it is another user's; or why
    /// it can't be made.</exception>
    public static SessionFolder Open(string path)
    {
        string fullPath = System.IO.Path.TrimEndingDirectorySeparator(FileOpening.FullPath(path, "open"));
        OwnFolder.Make(fullPath, $"the folder '{fullPath}' for the logs of sessions");
        CheckIsOwn(fullPath);
        SessionFolder folder = new(fullPath);
        folder.RemoveLeftovers();
        folder.CompleteStarts();
        return folder;
    }

    /// <summary>Where a log lies.</summary>
    public string LogPathFor(Guid id) => System.IO.Path.Combine(Path, id.ToString("D") + SessionLog.Extension);

    /// <summary>All sessions, in the order of their instants; those that run too, and those whose logs are damaged.</summary>
    /// <exception cref="BlockException">Why the folder can't be read.</exception>
    public IReadOnlyList<StoredSession> List() => InOrder(Ids().Select(Find));

    /// <summary>The sessions of an image, in the order of their instants, without those that run.</summary>
    /// <param name="imagePath">Full path; links are followed.</param>
    /// <exception cref="BlockException">Why the folder can't be read.</exception>
    public IReadOnlyList<StoredSession> FindByImage(string imagePath)
    {
        string markerPath = SessionMarker.PathFor(imagePath);
        return InOrder(Ids()
            .Where(id => ImageOf(id) is { } image && SessionMarker.PathFor(image) == markerPath)
            .Select(Find)
            .Where(session => session is { IsInUse: false }));
    }

    /// <summary>One session; null when there is none.</summary>
    public StoredSession? Find(Guid id) => StoredSession.Read(LogPathFor(id), id);

    /// <summary>The files of maps of a log.</summary>
    internal static IEnumerable<string> MapsOf(string logPath) => Files(
        System.IO.Path.GetDirectoryName(logPath)!,
        $"{System.IO.Path.GetFileNameWithoutExtension(logPath)}.*{SessionMapsReference.Extension}");

    private static IReadOnlyList<StoredSession> InOrder(IEnumerable<StoredSession?> sessions) =>
    [
        .. sessions.OfType<StoredSession>()
            .OrderBy(session => session.StartedAt ?? DateTimeOffset.MaxValue).ThenBy(session => session.Id),
    ];

    private string? ImageOf(Guid id)
    {
        if (!_images.TryGetValue(id, out string? imagePath) && Find(id) is { Description: { } description })
        {
            imagePath = description.ImagePath;
            _images[id] = imagePath;
        }

        return imagePath;
    }

    private IEnumerable<Guid> Ids() => Files(Path, "*" + SessionLog.Extension)
        .Select(file => Guid.TryParseExact(System.IO.Path.GetFileNameWithoutExtension(file), "D", out Guid id) ? id : Guid.Empty)
        .Where(id => id != Guid.Empty);

    private static string[] Files(string folder, string pattern)
    {
        try
        {
            return Directory.GetFiles(folder, pattern);
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, folder, "list");
        }
    }

    // A follower goes by its leader, and the leader's log may be gone before the follower's disk is mounted.
    private void CompleteStarts()
    {
        foreach (StoredSession follower in List())
        {
            if (follower is { State: StoredState.Starting, StartedAt: not null, IsInUse: false, Description: { } description } &&
                description.LeaderId != follower.Id &&
                Find(description.LeaderId) is { Fault: null, State: not StoredState.Starting })
            {
                try
                {
                    using SessionLog? log = SessionLog.OpenHead(follower.Path, follower.Id);
                    log?.StoreState(StoredState.Running, isDurable: true);
                }
                catch (BlockException e) when (e.Kind is BlockErrors.InUse or BlockErrors.NotFound)
                {
                    // Another process has come first.
                }
            }
        }
    }

    // Files that are being made are locked. A file of maps that the log beside it does not name is of no use.
    private void RemoveLeftovers()
    {
        foreach (string partial in Files(Path, "*" + WholeFile.Partial))
        {
            _ = LeftFile.Remove(partial);
        }

        foreach (string mapsPath in Files(Path, "*" + SessionMapsReference.Extension))
        {
            string name = System.IO.Path.GetFileName(mapsPath);

            // The log's first name first: it may get its own between the two looks.
            if (Guid.TryParseExact(name.Split('.')[0], "D", out Guid id) && !File.Exists(LogPathFor(id) + WholeFile.Partial) &&
                (Find(id) is not { } session || IsUnneeded(session, mapsPath)))
            {
                _ = LeftFile.Remove(mapsPath);
            }
        }
    }

    private static bool IsUnneeded(StoredSession session, string mapsPath)
    {
        try
        {
            using SessionLog? log = session.IsInUse ? null : SessionLog.OpenHead(session.Path, session.Id);
            return log is not null && mapsPath != SessionMapsReference.PathFor(session.Path, log.Maps.Number);
        }
        catch (BlockException)
        {
            return false;
        }
    }

    private static void CheckIsOwn(string path)
    {
        if (OwnFolder.FindOtherOwner(path) is { } userId)
        {
            throw Refused(
                path,
                $"it belongs to the user {userId}, and this process runs as {PosixStat.UserId}. Run it as that user, or name " +
                "another folder");
        }

        if (OwnFolder.IsOpenToOthers(path))
        {
            throw Refused(
                path,
                "other users can write to it, and so could have a session go on with what they like. Look whether its files are of " +
                $"your sessions, then take the right away: chmod go-w '{path}'");
        }
    }

    private static BlockException Refused(string path, string reason) => new(
        BlockErrors.PermissionDenied, $"The folder '{path}' is not used for logs of sessions: {reason}.", path, operation: "open");
}
