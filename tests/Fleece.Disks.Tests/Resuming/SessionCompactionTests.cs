// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Resuming;
using Fleece.TestKit;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Disks.Tests.Resuming;

public sealed class SessionCompactionTests : IDisposable
{
    private readonly LogRig _rig = LogRig.InMemory();

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void A_log_that_has_grown_is_replaced_by_maps_and_a_short_one()
    {
        LiveSession live = new(_rig, compactionBytes: 64 * 1024);
        while (live.Log.Maps.Number < 3)
        {
            live.NoteSomething();
        }

        string truth = live.End();

        Assert.Equal(truth, live.Restored());
        Assert.Equal(2, Directory.GetFiles(_rig.Sessions.Path).Length);
    }

    // By a hard link, say, which a backup of the folder has made.
    [Fact]
    public void A_log_that_was_replaced_says_so_under_each_other_name_that_it_has()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Other systems do not open a file past its lock.");
        LiveSession live = new(_rig, compactionBytes: 64 * 1024);
        live.NoteSomething();
        byte[] bytes = new byte[64 * 1024];
        using (SafeFileHandle old = PosixFlush.OpenUnlocked(live.Log.Path, out _)!)
        {
            while (live.Log.Maps.Number < 1)
            {
                live.NoteSomething();
            }

            live.NoteSomething(); // Behind it the old one is marked: until then it has all records.
            Assert.Equal(StoredState.Superseded, ReadState(old));
        }

        string truth = live.End();
        Assert.Equal(truth, live.Restored());

        StoredState ReadState(SafeFileHandle file)
        {
            RandomAccess.Read(file, bytes, 0);
            return SessionLogHead.Parse(bytes, live.Log.Description.Id, out _, out _)!.State;
        }
    }

    [Fact]
    public void Notes_from_several_threads_are_all_there_after_each_compaction()
    {
        LiveSession live = new(_rig, compactionBytes: 16 * 1024);
        Thread[] threads = [.. Enumerable.Range(0, 4).Select(_ => new Thread(() =>
        {
            while (live.Log.Maps.Number < 5)
            {
                live.NoteSomething();
            }
        }))];
        foreach (Thread thread in threads)
        {
            thread.Start();
        }

        foreach (Thread thread in threads)
        {
            thread.Join();
        }

        string truth = live.End();

        Assert.Equal(truth, live.Restored());
    }

    [Fact]
    public void A_note_whose_change_of_the_map_is_still_to_come_is_not_lost()
    {
        SessionLog log = _rig.Create();
        PointInTimeMaps maps = new(LogRig.DiskBytes / 4096, 0, isLimited: false);

        // Noted, and not yet in the map: the moment at which the copy's thread holds its lock.
        log.NoteDone(new GranuleRun(77, 78), hasData: true);
        log.StoreDenied(maps);
        log.Dispose();

        (SessionLog again, PointInTimeMaps restored) = _rig.Sessions.Find(log.Description.Id)!.TakeOver(out _)!.Value;
        again.Dispose();
        Assert.True(restored.Stored.Contains(77));
    }

    [Theory]
    [InlineData("joined")]
    [InlineData("written")]
    public void State_reasons_and_notes_that_come_meanwhile_are_in_the_new_log(string step)
    {
        SessionLog log = _rig.Create();
        log.Reached = reached =>
        {
            if (reached == step)
            {
                log.StoreState(StoredState.EndingFailure);
                log.NoteBroken(new BlockException(BlockErrors.TempFull, "full"));
                log.NoteDone(new GranuleRun(3, 4), hasData: true);
            }
        };

        log.StoreDenied(new PointInTimeMaps(LogRig.DiskBytes / 4096, 0, isLimited: false));

        log.Dispose();
        StoredSession stored = _rig.Sessions.Find(log.Description.Id)!;
        (SessionLog again, PointInTimeMaps maps) = stored.TakeOver(out _)!.Value;
        again.Dispose();
        Assert.Equal((StoredState.EndingFailure, BlockErrors.TempFull), (stored.State, stored.BrokenBy?.Kind));
        Assert.True(maps.Stored.Contains(3));
    }

    [Fact]
    public void Without_room_the_old_log_goes_on_and_says_so()
    {
        using MountedFolder disk = new("tmpfs", "size=2m");
        Assert.SkipWhen(disk.SkipReason is not null, disk.SkipReason ?? "");
        using LogRig rig = new(Path.Combine(disk.Path, "sessions"));
        LiveSession live = new(rig, compactionBytes: 1L << 40);
        live.NoteSomething();
        string filler = Path.Combine(disk.Path, "filler");
        foreach (int leftBytes in (int[])[0, 4096, 300 * 1024, 520 * 1024])
        {
            using (FileStream file = File.Create(filler))
            {
                FileSystemSpace.TryGetFreeBytes(disk.Path, out long freeBytes);
                file.Write(new byte[freeBytes - leftBytes]);
            }

            BlockException failure = Assert.Throws<BlockException>(() => live.Log.StoreDenied(live.MapsOfManyPages()));

            Assert.Equal(BlockErrors.NoSpace, failure.Kind);
            Assert.Equal(BlockErrors.NoSpace, live.Log.CompactionFailure?.Kind);
            Assert.Equal(2, Directory.GetFiles(Path.GetDirectoryName(live.Log.Path)!).Length + 1);
            File.Delete(filler);
            live.NoteSomething();
        }

        live.Log.StoreDenied(live.Maps);

        Assert.Null(live.Log.CompactionFailure);
        Assert.Equal(live.End(), live.Restored());
    }

    [Fact]
    public void An_end_does_not_wait_for_the_maps_of_a_large_disk()
    {
        LiveSession live = new(_rig, compactionBytes: 1024);
        using ManualResetEventSlim joined = new();
        live.Log.Reached = _ => joined.Set();
        while (!joined.IsSet)
        {
            live.NoteSomething();
        }

        live.Log.Suspend(new SessionEvidence(default, default));

        Assert.Equal(live.End(), live.Restored());
        Assert.Equal(StoredState.Suspended, _rig.Sessions.Find(live.Log.Description.Id)!.State);
    }
}
