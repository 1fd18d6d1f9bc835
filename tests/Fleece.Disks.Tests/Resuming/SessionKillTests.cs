// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Resuming;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Resuming;

/// <summary>A process that is killed leaves every note that was acknowledged, and none that was not begun.</summary>
public sealed class SessionKillTests
{
    private const int KilledExitCode = 137; // 128 and SIGKILL

    public SessionKillTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "A killed process is known by its exit code on Linux.");

    [Theory]
    [InlineData("log-made")]
    [InlineData("log-named")]
    [InlineData("log-slot-written")]
    [InlineData("log-state")]
    [InlineData("log-state-stored")]
    [InlineData("log-note:4000")]
    [InlineData("record-written:4000")]
    [InlineData("log-grow")]
    [InlineData("compaction-made:2")]
    [InlineData("compaction-joined:2")]
    [InlineData("maps-write:2")]
    [InlineData("compaction-written:2")]
    [InlineData("compaction-rename:2")]
    [InlineData("compaction-replaced:2")]
    [InlineData("log-text-written")]
    [InlineData("log-slot-written:2")]
    public void At_each_step(string step) => Check(step, killAfterLines: int.MaxValue);

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void At_any_moment(int run)
    {
        Seeds seeds = Seeds.FromEnvironment();
        for (int i = 0; i <= run; i++)
        {
            seeds = seeds.Fork();
        }

        Check(killAt: null, killAfterLines: 10 + seeds.Next(10_000));
    }

    private static void Check(string? killAt, int killAfterLines)
    {
        using TempFolder folder = new(LogRig.MemoryPath);
        List<string> told = [];
        using Process child = SessionChild.Start(folder.Path, Seeds.FromEnvironment().Seed, killAt);
        while (child.StandardOutput.ReadLine() is { } line)
        {
            told.Add(line);
            if (told.Count == killAfterLines)
            {
                child.Kill();
            }
        }

        child.WaitForExit();
        Assert.Equal(KilledExitCode, child.ExitCode);

        // Twice: an opening of the folder removes what was half-made, and nothing else.
        Guid id = Guid.Parse(told[0].Split(' ')[1]);
        CheckLog(LogRig.In(folder.Path), id, told);
        CheckLog(LogRig.In(folder.Path), id, told);
    }

    private static void CheckLog(LogRig rig, Guid id, List<string> told)
    {
        if (rig.Sessions.Find(id) is not { } stored)
        {
            Assert.DoesNotContain("running", told);
            Assert.Empty(Directory.GetFiles(rig.Sessions.Path));
            return;
        }

        Assert.Null(stored.Fault);
        (SessionLog log, PointInTimeMaps restored) = stored.TakeOver(out string? fault)!.Value;
        Assert.Null(fault);
        log.Dispose();
        Assert.Equal(log.Maps.Number != 0 ? 2 : 1, Directory.GetFiles(rig.Sessions.Path).Length);
        CheckState(stored, told);

        PointInTimeMaps truth = new(restored.GranuleCount, 2, isLimited: false);
        string[] notes = [.. told.Where(line => line.StartsWith("note ", StringComparison.Ordinal))];
        int acknowledged = told.Count(line => line == "noted");
        foreach (string note in notes.Take(acknowledged))
        {
            SessionNote.Parse(note[5..]).Add(truth);
        }

        if (LogRig.Facts(truth) != LogRig.Facts(restored))
        {
            Assert.Equal(acknowledged + 1, notes.Length);
            SessionNote.Parse(notes[^1][5..]).Add(truth);
            Assert.Equal(LogRig.Facts(truth), LogRig.Facts(restored));
        }
    }

    private static void CheckState(StoredSession stored, List<string> told)
    {
        Assert.True(stored.BrokenBy is not null ? told.Contains("breaking") : !told.Contains("broken"));
        if (told.Contains("running"))
        {
            Assert.True(
                stored.State == StoredState.Running || (stored.State == StoredState.Suspended && told.Contains("broken")),
                $"{stored.State}");
            Assert.Equal(DateTimeOffset.UnixEpoch, stored.StartedAt);
        }
        else
        {
            Assert.True(stored.State is StoredState.Starting or StoredState.Running);
        }
    }
}
