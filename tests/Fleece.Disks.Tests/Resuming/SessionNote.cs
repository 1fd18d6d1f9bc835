// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Resuming;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Resuming;

/// <summary>A note of a session with two consumers, as a line of text too.</summary>
/// <param name="Kind">0: copied; 1: zeros; 2: consumed; 3 and 4: confirmed.</param>
/// <param name="Run">The granules.</param>
internal sealed record SessionNote(int Kind, GranuleRun Run)
{
    public static SessionNote Any(Seeds seeds, long granuleCount)
    {
        long start = seeds.Next(granuleCount);
        long count = seeds.Chance(5) ? seeds.Next(40_000L) + 1 : seeds.Next(8L) + 1;
        return new SessionNote(seeds.Chance(80) ? 0 : seeds.Next(5), new GranuleRun(start, Math.Min(start + count, granuleCount)));
    }

    public static SessionNote Parse(string line)
    {
        long[] numbers = [.. line.Split(' ').Select(word => long.Parse(word, CultureInfo.InvariantCulture))];
        return new SessionNote((int)numbers[0], new GranuleRun(numbers[1], numbers[2]));
    }

    /// <summary>Notes it, and then changes the maps.</summary>
    public BlockException? Do(SessionLog log, PointInTimeMaps maps)
    {
        BlockException? cause = Kind switch
        {
            0 or 1 => log.NoteDone(Run, hasData: Kind == 0),
            2 => log.NoteConsumed(Run),
            _ => log.NoteConfirmed(Kind - 3, Run),
        };
        if (cause is null)
        {
            Add(maps);
        }

        return cause;
    }

    public void Add(PointInTimeMaps maps)
    {
        switch (Kind)
        {
            case 0 or 1:
                maps.AddDone(Run, hasData: Kind == 0);
                break;
            case 2:
                maps.AddConsumed(Run);
                break;
            default:
                maps.AddConfirmed(Kind - 3, Run);
                break;
        }
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Kind} {Run.Start} {Run.End}");
}
