// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Disks.Resuming;
using Fleece.Hosting.Control;
using Fleece.Images;

namespace Fleece.Hosting.Local;

/// <summary>Takes sessions up again on a user's word: their disks are mounted as they were.</summary>
/// <remarks>
/// <para>A host does that by itself when it mounts a disk, and tries a disk that fails again and again; so there it only tells how it
/// stands.</para>
/// <para>A disk that can't be mounted keeps no other one's sessions from going on: its own are told with the reason.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class SessionResuming(MountedDisks mounted, KeptSessions kept, LocalDisks disks)
{
    /// <inheritdoc cref="ISessionControl.ResumeSessionsAsync"/>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: no folder was named;
    /// <see cref="BlockErrors.NotFound"/>: the folder is not there; <see cref="DiskErrors.SessionUnknown"/>;
    /// <see cref="BlockErrors.InUse"/>: another process runs it.</exception>
    public async ValueTask<IReadOnlyList<SessionInfo>> ResumeAsync(
        SessionReference? session, string? statePath, CancellationToken cancellationToken)
    {
        IReadOnlyList<SessionFolder> folders = statePath is null ? kept.Folders : [kept.UsePresent(statePath)];
        if (folders.Count == 0)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                "Nothing says where sessions are kept. Name the state directory that Start-FleeceSession had, with -StatePath.");
        }

        Dictionary<string, string> failures = kept.Own is null
            ? await MountAsync(folders, session, cancellationToken).ConfigureAwait(false)
            : [];

        // The mounts have judged them.
        HashSet<Guid?> ids = [.. folders.SelectMany(folder => folder.List()).Select(stored => stored.Id)];
        SessionInfo[] running = [.. mounted.Sessions.Select(found => found.Describe()).Where(found => ids.Contains(found.LogId) &&
            (session is null || Means(session, found)))];
        SessionInfo[] all = [.. running, .. Lost(folders, session).Select(found => Explain(found.Session, failures))];
        return all.Length != 0 ? all
            : folders.Select(folder => KeptSessions.FindElsewhere(folder, session)).FirstOrDefault(error => error is not null) is { } error
                ? throw error
            : session is null ? all
            : throw new BlockException(
                DiskErrors.SessionUnknown,
                $"No session named '{session.Name}' is kept in '{Path.GetDirectoryName(folders[0].Path)}'." +
                (kept.OnTheirWay is { Length: not 0 } onTheirWay
                    ? onTheirWay
                    : " Resume-FleeceSession without a name resumes all that are."));
    }

    private static IEnumerable<(SessionFolder Folder, LostSession Session)> Lost(
        IReadOnlyList<SessionFolder> folders, SessionReference? session) => folders
            .SelectMany(folder => LostSession.List(folder).Select(found => (folder, found)))
            .Where(found => session is null || KeptSessions.Fits(found.found, session));

    private static bool Means(SessionReference session, SessionInfo running) =>
        running.IsCalled(session.Name) && (session.InstantId is null || session.InstantId == running.InstantId);

    // Those of one disk come back together, and one disk that fails keeps no other one down.
    private async ValueTask<Dictionary<string, string>> MountAsync(
        IReadOnlyList<SessionFolder> folders, SessionReference? session, CancellationToken cancellationToken)
    {
        Dictionary<string, string> failures = [];
        (SessionFolder Folder, LostSession Session)[] firsts = [.. Lost(folders, session)
            .Where(found => found.Session is { CanResume: true, IsImageThere: true } && !IsServed(found.Session))
            .DistinctBy(found => found.Session.ImagePath)];
        foreach ((SessionFolder folder, LostSession first) in firsts)
        {
            ImageOpenOptions openedWith = first.OpenedWith!;
            MountRequest request = new()
            {
                Address = first.ImagePath!,
                Name = first.DiskName,
                Format = openedWith.Format,
                AllowsOutsideDataFile = openedWith.AllowsOutsideDataFile,
                IsUntrusted = openedWith.Untrusted is not null,
            };
            try
            {
                CheckNameFree(first);
                _ = await disks
                    .MountAsync(request, folder, SessionHandling.Resume, beforeServed: null, cancellationToken).ConfigureAwait(false);
            }
            catch (BlockException e) when (firsts.Length > 1 || e.Kind == ImageErrors.ImageHasSession)
            {
                failures[first.ImagePath!] = e.Message;
            }
        }

        return failures;
    }

    // The mount's own advice, another name, is none here: the disk keeps the name that the session knows it by.
    private void CheckNameFree(LostSession session)
    {
        Disk? other = mounted.All.FirstOrDefault(disk => string.Equals(disk.Name, session.DiskName, StringComparison.OrdinalIgnoreCase));
        if (other is not null)
        {
            throw new BlockException(
                DiskErrors.DiskNameInUse,
                $"The disk of the session '{session.Id}' is to be mounted as '{session.DiskName}', and '{other.Path}' is mounted " +
                $"under that name. Dismount that one first (Dismount-FleeceDisk {PowerShellText.Argument(other.Name)}), or " +
                "resume the session in another process.",
                session.ImagePath);
        }
    }

    private bool IsServed(LostSession session) => mounted.All.Any(disk => disk.Path == session.ImagePath);

    private SessionInfo Explain(LostSession session, Dictionary<string, string> failures)
    {
        SessionInfo info = session.Describe();
        return !session.CanResume ? info
            : failures.TryGetValue(session.ImagePath!, out string? failure)
                ? info with { BrokenBy = $"Its disk can't be mounted. {failure}" }
            : IsServed(session)
                ? info with { BrokenBy = $"Its disk '{session.ImagePath}' was mounted without it. Dismount that, and resume the session." }
            : info;
    }
}
