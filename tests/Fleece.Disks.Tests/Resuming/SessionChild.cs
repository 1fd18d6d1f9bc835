// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Resuming;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Resuming;

/// <summary>A process that keeps a log, tells each step before it takes it and after it was acknowledged, and is killed.</summary>
internal static class SessionChild
{
    private const string FolderVariable = "FLEECE_TEST_SESSION_FOLDER";
    private const string SeedVariable = "FLEECE_TEST_SESSION_SEED";
    private const int Notes = 6000;
    private const int Compactions = 3;

    /// <summary>Starts one.</summary>
    /// <param name="folder">The folder that holds the folder of logs.</param>
    /// <param name="seed">What it notes.</param>
    /// <param name="killAt">The step at which it is killed; null for none.</param>
    public static Process Start(string folder, ulong seed, string? killAt)
    {
        string program = Environment.ProcessPath!;
        bool isHost = Path.GetFileNameWithoutExtension(program) == "dotnet";
        ProcessStartInfo start = new(program, isHost ? [typeof(SessionChild).Assembly.Location] : [])
        {
            RedirectStandardOutput = true,
            Environment =
            {
                [FolderVariable] = folder,
                [SeedVariable] = seed.ToString(CultureInfo.InvariantCulture),
                ["FLEECE_TEST_KILL_AT"] = killAt,
            },
        };
        return Process.Start(start)!;
    }

    // Before the runner of tests begins.
    [ModuleInitializer]
    internal static void RunIfMeant()
    {
        if (Environment.GetEnvironmentVariable(FolderVariable) is { } folder)
        {
            Run(folder, ulong.Parse(Environment.GetEnvironmentVariable(SeedVariable)!, CultureInfo.InvariantCulture));
            Environment.Exit(0);
        }
    }

    private static void Run(string folder, ulong seed)
    {
        using StreamWriter told = new(Console.OpenStandardOutput()) { AutoFlush = true };
        Seeds seeds = new(seed);
        LogRig rig = LogRig.In(folder);
        SessionDescription description = rig.Describe("replica", "archive");
        told.WriteLine($"id {description.Id}");
        using SessionLog log = SessionLog.Create(rig.Sessions, description);

        // A log that is compacted never grows.
        bool mustGrow = Environment.GetEnvironmentVariable("FLEECE_TEST_KILL_AT") == "log-grow";
        log.CompactionBytes = mustGrow ? SessionLog.DefaultCompactionBytes : 32 * 1024;
        log.StoreInstant(DateTimeOffset.UnixEpoch);
        log.StoreState(StoredState.Running);
        PointInTimeMaps maps = new(description.GranuleCount, 2, isLimited: false);
        log.Follow(maps);
        told.WriteLine("running");
        for (int i = 0; i < Notes || (!mustGrow && log.Maps.Number < Compactions); i++)
        {
            SessionNote note = SessionNote.Any(seeds, description.GranuleCount);
            told.WriteLine($"note {note}");
            if (note.Do(log, maps) is { } cause)
            {
                throw cause;
            }

            told.WriteLine("noted");
        }

        told.WriteLine("breaking");
        log.NoteBroken(new BlockException(BlockErrors.TempFull, "full"));
        told.WriteLine("broken");
        log.Suspend(new SessionEvidence(default, default));
        told.WriteLine("suspended");
    }
}
