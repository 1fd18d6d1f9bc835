// SPDX-License-Identifier: MIT
using Fleece.Resuming.Tests.Truth;
using Fleece.Resuming.Tests.Worlds;

namespace Fleece.Resuming.Tests.Judging;

/// <summary>Sees that no file is left of sessions that are gone.</summary>
internal static class LitterJudge
{
    /// <summary>Judges the folders of images, old data and state.</summary>
    public static void Judge(World world, string when)
    {
        HashSet<string> expected = [];
        HashSet<string> marked = [];
        foreach (WorldDisk disk in world.Disks)
        {
            expected.UnionWith([disk.Path, $"{disk.Path}.fleece-bitmaps", $"{disk.Path}.fleece-journal"]);
            foreach (SessionTruth session in disk.Truth.Sessions)
            {
                expected.Add(session.TempPath!);
                marked.Add(disk.Path + ".fleece-sessions");
            }
        }

        expected.UnionWith(marked);
        IEnumerable<string> litter = new[] { world.ImageFolder, world.TempFolder }.Distinct()
            .SelectMany(folder => Directory.GetFiles(folder))
            .Where(path => !expected.Contains(path) && !Path.GetFileName(path).Contains("-parent.", StringComparison.Ordinal) &&
                Path.GetFileName(path) != World.BallastName && !IsCleanedLater(world, path));
        if (litter.FirstOrDefault() is { } left)
        {
            throw new Finding($"{when}: the file '{left}' belongs to no session that is there");
        }

        int logs = CountFiles(world, ".log");
        int sessions = world.Sessions.Count(session => session.CanResume);
        if (logs > sessions)
        {
            throw new Finding($"{when}: there are {logs} logs of sessions and {sessions} sessions that can be resumed");
        }
    }

    // Old data of a job's session, or of one that did not come about, in a folder of the user's, which the next session there removes; and
    // a sidecar that was being made, which the next one that is made replaces.
    private static bool IsCleanedLater(World world, string path) =>
        (Path.GetDirectoryName(path) == world.TempFolder && path.EndsWith(".fleece-temp", StringComparison.Ordinal)) ||
        path.EndsWith(".fleece-bitmaps.new", StringComparison.Ordinal) ||
        IsOfUnkeptSession(world, path);

    // Where images find no room for a journal, sessions end with their host, and a temp image of the user's name is the user's to remove.
    private static bool IsOfUnkeptSession(World world, string path) =>
        world.Options.ImageFolder is not null && Path.GetDirectoryName(path) == world.TempFolder &&
        Path.GetExtension(path) is ".raw" or ".qcow2" or ".vhd" or ".vhdx";

    private static int CountFiles(World world, string extension)
    {
        string folder = Path.Combine(world.Place.StatePath, "sessions");
        return Directory.Exists(folder) ? Directory.GetFiles(folder, $"*{extension}").Length : 0;
    }
}
