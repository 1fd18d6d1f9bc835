// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Disks.Resuming;
using Fleece.Hosting.State;

namespace Fleece.Hosting.Local;

/// <summary>The folders that keep sessions over the end of this process, and the sessions in them that no process runs.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
/// <param name="own">The folder of the host that this process is; null in a process that is none, whose users name folders.</param>
internal sealed class KeptSessions(SessionFolder? own)
{
    private const string FolderName = "sessions";

    private readonly Lock _lock = new();
    private readonly List<SessionFolder> _named = [];

    /// <summary>Names the disks that a host which starts has not mounted yet: their sessions come back with them.</summary>
    public Func<IReadOnlyList<string>> DisksToCome { get; set; } = () => [];

    /// <summary>Sentences about <see cref="DisksToCome"/> behind the error of a session that is not known, with a space before them; empty
    /// where there are none.</summary>
    public string OnTheirWay => DisksToCome() is not { Count: not 0 } names ? string.Empty
        : $" The host is starting: it still mounts {string.Join(", ", names.Select(name => $"'{name}'"))}, and their sessions come back " +
            "with them. Try again.";

    /// <summary>The host's folder; null for none.</summary>
    public SessionFolder? Own => own;

    /// <summary>The sessions that no process runs.</summary>
    /// <exception cref="BlockException">Why a folder can't be read.</exception>
    public IReadOnlyList<LostSession> Lost => [.. Folders.SelectMany(LostSession.List)];

    /// <summary>The host's folder, or those that users have named and not removed since.</summary>
    public IReadOnlyList<SessionFolder> Folders
    {
        get
        {
            lock (_lock)
            {
                _ = _named.RemoveAll(named => !Directory.Exists(named.Path));
                return own is null ? [.. _named] : [own];
            }
        }
    }

    /// <summary>The folder of the sessions in a state directory, each of which is made where it is missing.</summary>
    /// <exception cref="BlockException"><see cref="HostErrors.StateInvalid"/>: others can write to it; or why it can't be made.</exception>
    public static SessionFolder OpenIn(string statePath)
    {
        StateFolder.MakeOwn(statePath);
        return SessionFolder.Open(Path.Combine(statePath, FolderName));
    }

    /// <summary>As <see cref="Use"/>, for a state directory that is there.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.NotFound"/>: it keeps no sessions;
    /// <see cref="BlockErrors.InvalidArgument"/>: it is a file; why it can't be looked at; or as <see cref="Use"/>.</exception>
    public SessionFolder UsePresent(string statePath) => HasSessions(statePath)
        ? Use(statePath)
        : throw new BlockException(
            BlockErrors.NotFound,
            $"There are no sessions in '{statePath}': no Start-FleeceSession -StatePath has used it. Check the path, and whether its " +
            "volume is mounted.",
            statePath);

    /// <summary>The folder of a state directory that is there; nothing is remembered.</summary>
    /// <exception cref="BlockException">As <see cref="UsePresent"/>.</exception>
    public static SessionFolder Peek(string statePath) => new KeptSessions(own: null).UsePresent(statePath);

    /// <summary>The sessions of a folder that processes run, as -WhatIf names them: with the process, where it is another one.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="reference">The session; null for any.</param>
    public static IEnumerable<string> DescribeRunning(SessionFolder folder, SessionReference? reference) =>
        FindInUse(folder, reference).Select(stored =>
        {
            string where = LockHolders.FindProcess(stored.Path) is not { } processId ? " in another process"
                : processId == Environment.ProcessId ? string.Empty
                : FormattableString.Invariant($" in the process {processId}");
            return $"'{IdOf(stored.Description!)}' (runs{where})";
        });

    /// <summary>The error of a state directory that a user names for a host.</summary>
    public static BlockException NotOfHost(string statePath) => new(
        BlockErrors.InvalidArgument,
        $"The Fleece host keeps sessions in its own state directory, and not in '{statePath}'. Leave -StatePath out. Sessions that a " +
        "shell keeps there are resumed by a shell without the host: set $env:FLEECE_HOST = 'none' first.",
        statePath);

    /// <summary>As <see cref="OpenIn"/>, and has <see cref="Lost"/> look there from now on.</summary>
    public SessionFolder Use(string statePath)
    {
        SessionFolder folder = OpenIn(Path.TrimEndingDirectorySeparator(statePath));
        lock (_lock)
        {
            if (_named.Find(named => named.Path == folder.Path) is { } known)
            {
                return known;
            }

            _named.Add(folder);
            return folder;
        }
    }

    /// <summary>The session that a reference means; null where none of them fits.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.SessionAmbiguous"/>, or as <see cref="Lost"/>.</exception>
    public LostSession? Find(SessionReference reference)
    {
        LostSession[] fitting = [.. Lost.Where(session => Fits(session, reference))];
        return fitting.Length switch
        {
            0 => null,
            1 => fitting[0],
            _ => throw new BlockException(
                DiskErrors.SessionAmbiguous,
                $"Several sessions fit: {string.Join(", ", fitting.Select(session => session.Id))}. Name one of them, or give what " +
                "Get-FleeceSession returns."),
        };
    }

    /// <summary>True when a reference means a session.</summary>
    public static bool Fits(LostSession session, SessionReference reference) => session.IsCalled(reference.Name) &&
        (reference.InstantId is not { } instantId || session.Describe().InstantId == instantId);

    /// <summary>The error of the sessions of a folder that other processes run; null where none of that name is.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="reference">The session; null for any.</param>
    public static BlockException? FindElsewhere(SessionFolder folder, SessionReference? reference)
    {
        StoredSession[] found = FindInUse(folder, reference);
        if (found.Length == 0)
        {
            return null;
        }

        IEnumerable<string> all = found.Select(stored =>
        {
            string holder = LockHolders.FindProcess(stored.Path) is { } processId ? $"the process {processId}" : "another process";
            SessionDescription session = stored.Description!;
            return $"The session '{IdOf(session)}' runs in {holder}, which has its disk '{session.ImagePath}' mounted.";
        });
        (string sessions, string processes) = found.Length == 1 ? ("session", "that process") : ("sessions", "those processes");
        return new BlockException(
            BlockErrors.InUse,
            $"{string.Join(" ", all)} Where that is a Fleece host, use the {sessions} there: set $env:FLEECE_HOST to its socket. Else " +
            $"end {processes} in order, and resume the {sessions} here.",
            found[0].Description!.ImagePath);
    }

    // A folder that this user may not look into is no empty one.
    private static bool HasSessions(string statePath)
    {
        if (File.Exists(statePath))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{statePath}' is a file, and sessions are kept in a folder. Name the state directory that Start-FleeceSession had.",
                statePath);
        }

        try
        {
            return File.GetAttributes(Path.Combine(statePath, FolderName)).HasFlag(FileAttributes.Directory);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return false;
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, statePath, "look into");
        }
    }

    private static StoredSession[] FindInUse(SessionFolder folder, SessionReference? reference) =>
    [
        .. folder.List().Where(stored => stored is { IsInUse: true, Description: { } session } &&
            (reference is null || Is(session.SessionName, reference.Name) || Is(IdOf(session), reference.Name))),
    ];

    private static string IdOf(SessionDescription session) => $"{session.DiskName}/{session.SessionName}";

    private static bool Is(string name, string other) => string.Equals(name, other, StringComparison.OrdinalIgnoreCase);
}
