// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Resuming;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Fuzz.Sessions;

/// <summary>Logs of one session at different times, and the maps that they go on from.</summary>
/// <remarks>The logs are kept as files, because each has a random id, and the smoke's inputs are always the same. Maps have none.</remarks>
internal static class SessionCorpus
{
    /// <summary>The session.</summary>
    public static Guid Id { get; } = new("6c2f7f30-1d8a-4f0e-9a53-0b1c2d3e4f50");

    /// <summary>Maps of every kind of page.</summary>
    public static PointInTimeMaps Maps()
    {
        PointInTimeMaps maps = new(Description.GranuleCount, Description.Consumers.Count, isLimited: true);
        maps.Denied!.Add(new GranuleRun(0, 40_000));
        maps.AddDone(new GranuleRun(50_001, 50_007), hasData: true);
        maps.AddDone(new GranuleRun(70_000, 110_000), hasData: false);
        maps.AddConsumed(new GranuleRun(50_001, 50_003));
        maps.AddConfirmed(1, new GranuleRun(131_072, 262_144));
        return maps;
    }

    private static SessionDescription Description { get; } = new()
    {
        Id = Id,
        LeaderId = Id,
        DiskName = "vm",
        ImagePath = "/vm/vm.raw",
        ImageFormat = ImageFormat.Raw,
        ImageFileId = 7,
        DiskSizeBytes = 1L << 30,
        SessionName = "nightly",
        InstantId = new Guid(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
        GranuleSizeBytes = 4096,
        OnCopyError = CopyErrorPolicy.BreakGuestWrite,
        CopyTimeout = TimeSpan.FromSeconds(3),
        Consumers = ["replica", "archive"],
        TempPath = "/vm/vm.raw.nightly.fleece-kept-temp",
        TempFormat = ImageFormat.Raw,
        TempFileId = 8,
        IsTempOwned = true,
        TempReadsAsZero = true,
        PinnedBitmap = "nightly",
        BaselineId = new Guid(11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1),
        HasRanges = true,
    };

    /// <summary>The logs, each with its name.</summary>
    public static IEnumerable<(string Name, byte[] Bytes)> Make()
    {
        yield return ("starting", Make(maps: null, static _ => { }));
        yield return ("records", Make(maps: null, static log =>
        {
            log.StoreInstant(DateTimeOffset.UnixEpoch);
            log.StoreState(StoredState.Running);
            Note(log);
        }));
        yield return ("suspended", Make(Maps(), static log =>
        {
            log.StoreInstant(DateTimeOffset.UnixEpoch);
            log.StoreState(StoredState.Running);
            Note(log);
            log.Suspend(new SessionEvidence(new FileEvidence(1, 2, 3), new FileEvidence(4, 5, 6)));
        }));
        yield return ("broken", Make(Maps(), static log =>
        {
            log.StoreInstant(DateTimeOffset.UnixEpoch);
            log.StoreState(StoredState.Running);
            log.NoteBroken(new BlockException(BlockErrors.TempFull, "The temp image is full.", "/vm/temp", 4096, "copy"));
            log.StoreLost("Its temp image was removed.");
        }));
    }

    private static byte[] Make(PointInTimeMaps? maps, Action<SessionLog> use)
    {
        using TempFolder folder = new();
        SessionFolder sessions = SessionFolder.Open(folder.File("sessions"));
        using (SessionLog log = SessionLog.Create(sessions, Description, maps))
        {
            use(log);
        }

        return File.ReadAllBytes(sessions.LogPathFor(Id));
    }

    private static void Note(SessionLog log)
    {
        Seeds random = new(18);
        for (int i = 0; i < 40; i++)
        {
            long start = random.Next(200_000);
            GranuleRun run = new(start, start + 1 + random.Next(5000));
            _ = random.Next(4) switch
            {
                0 => log.NoteConsumed(run),
                1 => log.NoteConfirmed(random.Next(2), run),
                _ => log.NoteDone(run, hasData: random.Chance(70)),
            };
        }
    }
}
