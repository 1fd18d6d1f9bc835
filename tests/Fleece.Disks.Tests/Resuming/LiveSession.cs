// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Resuming;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Resuming;

/// <summary>A log with the maps of a session, which notes and adds under one lock as a point in time does.</summary>
internal sealed class LiveSession
{
    private readonly Lock _lock = new();
    private readonly LogRig _rig;
    private readonly Seeds _seeds = Seeds.FromEnvironment();

    public LiveSession(LogRig rig, long compactionBytes)
    {
        _rig = rig;
        Log = SessionLog.Create(rig.Sessions, rig.Describe("replica", "archive"));
        Log.CompactionBytes = compactionBytes;
        Maps = new PointInTimeMaps(LogRig.DiskBytes / 4096, 2, isLimited: false);
        Log.StoreState(StoredState.Running);
        Log.Follow(Maps);
    }

    public SessionLog Log { get; }

    public PointInTimeMaps Maps { get; }

    /// <summary>One note of any kind, and then its change.</summary>
    public void NoteSomething()
    {
        lock (_lock)
        {
            Assert.Null(SessionNote.Any(_seeds, Maps.GranuleCount).Do(Log, Maps));
        }
    }

    /// <summary>Maps of which each page costs 4 KiB.</summary>
    public PointInTimeMaps MapsOfManyPages()
    {
        PointInTimeMaps maps = new(Maps.GranuleCount, 2, isLimited: false);
        for (long granule = 0; granule < maps.GranuleCount; granule += 1000)
        {
            maps.AddConsumed(new GranuleRun(granule, granule + 1));
            maps.AddDone(new GranuleRun(granule, granule + 1), hasData: true);
        }

        return maps;
    }

    /// <summary>Closes the log, and tells what it must have.</summary>
    public string End()
    {
        Log.Dispose();
        return LogRig.Facts(Maps);
    }

    /// <summary>The session as a reader finds it.</summary>
    public string Restored()
    {
        (SessionLog log, PointInTimeMaps maps) = _rig.Sessions.Find(Log.Description.Id)!.TakeOver(out _)!.Value;
        log.Dispose();
        return LogRig.Facts(maps);
    }
}
