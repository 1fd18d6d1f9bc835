// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;
using Fleece.Resuming.Tests.Truth;
using Fleece.Resuming.Tests.Worlds;

namespace Fleece.Resuming.Tests.Judging;

/// <summary>Compares the bitmaps of a disk with what its guests have written.</summary>
internal static class BitmapJudge
{
    /// <summary>Judges all of them, while no guest writes.</summary>
    public static async Task JudgeAsync(World world, WorldDisk disk, string when)
    {
        Dictionary<string, BitmapInfo> found = (await world.Control.ListBitmapsAsync(disk.Name)).ToDictionary(info => info.Name);
        foreach (BitmapTruth bitmap in disk.Truth.Bitmaps.ToArray())
        {
            if (found.Remove(bitmap.Name))
            {
                await JudgeAsync(world, disk, bitmap.Name, MarksOf(disk.Truth, bitmap), bitmap.BaselineId, when);
                if (bitmap.IsAsked)
                {
                    bitmap.IsAsked = false; // Made, and the host was killed before it answered.
                    bitmap.RecordsFrom = disk.Truth.Tick();
                }
            }
            else if (bitmap.IsAsked)
            {
                disk.Truth.Bitmaps.Remove(bitmap); // The host was killed before it made it.
            }
            else
            {
                throw new Finding($"{when}: the bitmap '{bitmap.Name}' of the disk '{disk.Name}' is gone");
            }
        }

        foreach (SessionTruth session in disk.Truth.Sessions.Where(session => session.NextName is not null && !session.IsLost))
        {
            if (!found.Remove(session.NextName!))
            {
                throw new Finding($"{when}: the bitmap '{session.NextName}' of the session '{session.Id}' is gone");
            }

            Marks next = session.Next!.Copy();
            disk.Truth.AddDifferences(next.Must, session);
            await JudgeAsync(world, disk, session.NextName!, next, baselineId: null, when);
        }

        if (found.Count != 0)
        {
            throw new Finding(
                $"{when}: the disk '{disk.Name}' has the bitmap '{found.Keys.First()}', which neither a session nor a client made");
        }
    }

    private static Marks MarksOf(DiskTruth disk, BitmapTruth bitmap)
    {
        Marks marks = bitmap.Marks.Copy();
        if (bitmap is { Backup: { } backup, PinnedBy: null })
        {
            disk.AddDifferences(marks.Must, backup);
        }

        return marks;
    }

    private static async Task JudgeAsync(World world, WorldDisk disk, string name, Marks marks, Guid? baselineId, string when)
    {
        BitmapInfo? info;
        try
        {
            info = await world.Control.FindBitmapAsync(disk.Name, name);
        }
        catch (BlockException e) when (e.Kind == DiskErrors.BitmapUntrusted)
        {
            throw new Finding($"{when}: the bitmap '{name}' of the disk '{disk.Name}' is not trusted: {e.Message}");
        }

        if (info is null or { State: BitmapState.Untrusted })
        {
            throw new Finding($"{when}: the bitmap '{name}' of the disk '{disk.Name}' is not trusted: {info?.Reason}");
        }

        if (info.BaselineId != baselineId)
        {
            throw new Finding($"{when}: the bitmap '{name}' of '{disk.Name}' counts from {info.BaselineId}, and should from {baselineId}");
        }

        bool[] has = new bool[marks.Must.Length];
        foreach (BlockRange range in info.Ranges!)
        {
            Marks.Add(has, (int)(range.OffsetBytes / Sectors.SizeBytes), (int)(range.LengthBytes / Sectors.SizeBytes));
        }

        for (int unit = 0; unit < has.Length; unit++)
        {
            if (marks.Must[unit] && !has[unit])
            {
                throw new Finding($"{when}: the bitmap '{name}' of the disk '{disk.Name}' misses a change of unit {unit}");
            }

            if (has[unit] && !marks.May[unit])
            {
                throw new Finding($"{when}: the bitmap '{name}' of the disk '{disk.Name}' has unit {unit}, which no guest wrote since");
            }
        }
    }
}
