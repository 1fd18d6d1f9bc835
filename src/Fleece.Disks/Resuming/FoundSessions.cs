// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Temp;
using Fleece.Images;

namespace Fleece.Disks.Resuming;

/// <summary>A session that a mount has found.</summary>
/// <param name="Id">The id of its log.</param>
/// <param name="Name">DISK/NAME, for messages.</param>
/// <param name="LogPath">Full path of its log.</param>
/// <param name="Stored">Its log as it was read; null for one that is gone.</param>
/// <param name="IsMarked">True when the marker beside the image names it.</param>
internal sealed record FoundSession(Guid Id, string Name, string LogPath, StoredSession? Stored, bool IsMarked);

/// <summary>Finds the sessions of an image: those of which a folder has logs with its path, and those that its marker names.</summary>
/// <remarks>Nothing is changed, and sessions that run, or that a newer Fleece has written, are left out, and so are copies of logs that lie
/// where the marker says: the marker keeps the image from being opened then. Threading. All calls are safe from any thread.</remarks>
internal static class FoundSessions
{
    /// <summary>The sessions of which a folder has logs, or had: those that the marker says so of.</summary>
    /// <exception cref="BlockException">Why the folder can't be read.</exception>
    public static IReadOnlyList<FoundSession> In(SessionFolder folder, string imagePath, SessionMarker? marker)
    {
        List<FoundSession> found =
        [
            .. from stored in folder.FindByImage(imagePath)
               where !stored.IsNewer && !IsOfOriginal(stored, marker)
               select new FoundSession(stored.Id, NameOf(stored), stored.Path, stored, IsMarked(marker, stored.Id)),
        ];
        foreach (MarkedSession marked in marker?.Sessions ?? [])
        {
            // Its log can't be read, or names the image as it was called before it was moved, or the image that this is a copy of.
            if (found.Exists(session => session.Id == marked.Id) || marked.LogPath != folder.LogPathFor(marked.Id))
            {
                continue;
            }

            StoredSession? stored = folder.Find(marked.Id);
            if (stored is null or { IsInUse: false, IsNewer: false })
            {
                string name = stored is { Description: not null } ? NameOf(stored) : PrintableText.Of(marked.Name);
                found.Add(new FoundSession(marked.Id, name, marked.LogPath, stored, IsMarked: true));
            }
        }

        return found;
    }

    /// <summary>The sessions that the marker names and whose logs are in another folder of this user. Others can write to a marker, so it
    /// leads to no other folder; one whose log is not found so has no log here.</summary>
    public static IReadOnlyList<FoundSession> Elsewhere(SessionFolder? folder, SessionMarker? marker) =>
    [
        .. from marked in marker?.Sessions ?? []
           where folder is null || marked.LogPath != folder.LogPathFor(marked.Id)
           select new FoundSession(marked.Id, PrintableText.Of(marked.Name), marked.LogPath, FindElsewhere(marked), IsMarked: true),
    ];

    /// <summary>The path by which a session of an image knows it, where that is another one than the present: it was moved with the files
    /// beside it.</summary>
    /// <returns>Null where no log has another path, and where the marker can't be read.</returns>
    public static string? FindFormerPath(string imagePath)
    {
        try
        {
            string present = SessionMarker.PathFor(imagePath);
            return Elsewhere(folder: null, SessionMarker.Read(imagePath))
                .Select(found => found.Stored?.Description?.ImagePath)
                .FirstOrDefault(path => path is not null && SessionMarker.PathFor(path) != present);
        }
        catch (BlockException)
        {
            return null;
        }
    }

    /// <summary>Why a session whose log is gone or damaged can't be resumed, and what is left of it; whole sentences.</summary>
    public static string TellUnreadable(FoundSession session, string imagePath) =>
        $"Its log '{session.LogPath}' " +
        (session.Stored is { Fault: { } fault } ? $"can't be used: {fault}. " : "is gone. ") +
        TempFiles.TellOrphan(Path.GetDirectoryName(imagePath), session.Id);

    private static bool IsOfOriginal(StoredSession stored, SessionMarker? marker) => stored.IsCopy && marker?.Sessions.Any(
        marked => marked.Id == stored.Id && marked.LogPath != stored.Path && File.Exists(marked.LogPath)) == true;

    private static bool IsMarked(SessionMarker? marker, Guid id) => marker?.Sessions.Any(marked => marked.Id == id) == true;

    private static string NameOf(StoredSession session) => session.Description?.FullName ?? session.Id.ToString();

    private static StoredSession? FindElsewhere(MarkedSession marked)
    {
        try
        {
            string? place = Path.GetDirectoryName(marked.LogPath);
            return Directory.Exists(place) && SessionFolder.Open(place) is var other && marked.LogPath == other.LogPathFor(marked.Id)
                ? other.Find(marked.Id)
                : null;
        }
        catch (BlockException)
        {
            return null; // Another user's.
        }
    }
}
