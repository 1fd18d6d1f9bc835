// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Control;
using Fleece.Resuming.Tests.Judging;
using Fleece.Resuming.Tests.Serving;
using Fleece.Resuming.Tests.Truth;
using Fleece.Resuming.Tests.Worlds;
using Fleece.TestKit;

namespace Fleece.Resuming.Tests.Load;

/// <summary>Starts and stops sessions, makes bitmaps, and runs the nightly job, one after the other, until the host is gone.</summary>
internal sealed class Operator(World world, Seeds seeds)
{
    private const int MostSessions = 3;
    private const int MostBitmaps = 4;

    /// <summary>Runs until the connection is lost, or the token ends it between two actions.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (!cancellationToken.IsCancellationRequested)
            {
                await ActAsync();
                await Task.Delay(seeds.Next(15), CancellationToken.None);
            }
        }
        catch (BlockException e) when (ControlClient.IsLoss(e) || Losses.IsLoss(e))
        {
            // The host is gone.
        }
    }

    private async Task ActAsync()
    {
        WorldDisk[] disks = PickDisks();
        SessionTruth[] stoppable = [.. world.Sessions.Where(session => session is { IsJob: false, IsLost: false })];
        bool isFull = disks.Any(disk => disk.Truth.Sessions.Count >= MostSessions);
        if (stoppable.Length != 0 && (isFull || seeds.Chance(25)))
        {
            await StopAsync(stoppable[seeds.Next(stoppable.Length)]);
        }
        else if (world.Options.HasBitmaps && disks[0].Truth.Bitmaps.Count == 0)
        {
            await CreateBitmapAsync(disks[0]);
        }
        else if (seeds.Chance(25))
        {
            await RunNightAsync(disks[0]);
        }
        else if (!isFull)
        {
            await StartAsync(disks);
        }
    }

    private WorldDisk[] PickDisks()
    {
        int count = seeds.Chance(50) ? 1 : 1 + seeds.Next(world.Disks.Count);
        int first = seeds.Next(world.Disks.Count);
        return [.. Enumerable.Range(0, count).Select(i => world.Disks[(first + i) % world.Disks.Count])];
    }

    private async Task CreateBitmapAsync(WorldDisk disk)
    {
        BitmapTruth bitmap = new("daily", new Marks(disk.Truth.SectorCount)) { RecordsFrom = long.MaxValue, IsAsked = true };
        disk.Truth.BeginRecording(bitmap);
        world.Note($"{disk.Name}: makes the bitmap");
        await world.Control.CreateBitmapAsync(disk.Name, bitmap.Name);
        bitmap.RecordsFrom = disk.Truth.Tick();
        bitmap.IsAsked = false;
    }

    private async Task StartAsync(WorldDisk[] disks)
    {
        string name = world.NextName("s");
        BitmapTruth?[] daily = [.. disks.Select(FreeBitmap)];
        bool pins = daily.All(bitmap => bitmap is not null) && seeds.Chance(40);
        bool hasRoom = disks.All(disk => disk.Truth.Bitmaps.Count < MostBitmaps);
        string? next = hasRoom && world.Options.HasBitmaps && seeds.Chance(pins ? 30 : 20) ? world.NextName("n") : null;
        string[] consumers = seeds.Chance(30) ? ["local", "offsite"] : [];
        (int First, int Count)[]? ranges = pins || seeds.Chance(75) ? null : PickRanges(disks[0].Truth.SectorCount);
        long? limitBytes = seeds.Chance(8) ? 1 << 20 : null;
        CopyErrorPolicy policy = seeds.Pick(CopyErrorPolicy.BreakSnapshot, CopyErrorPolicy.BreakGuestWrite);
        SessionRequest request = new()
        {
            Disks = [.. disks.Select(disk => new DiskReference(disk.Name))],
            Name = name,
            Bitmap = pins ? new BitmapReference("daily") : null,
            NextBitmap = next,
            Consumers = consumers,
            TempPath = PickTemp(disks, name),
            Ranges = ranges is null ? null : [.. ranges.Select(range => new BlockRange(
                (long)range.First * Sectors.SizeBytes, (long)range.Count * Sectors.SizeBytes))],
            GranuleSizeBytes = seeds.Pick<int?>(null, null, 4096, 65536),
            OnCopyError = policy,
            TempLimitBytes = limitBytes,
        };
        SessionTruth[] sessions = [.. disks.Select((disk, i) =>
            new SessionTruth(disk.Truth, name, pins ? daily[i] : null, next, consumers)
            {
                Ranges = ranges,
                MayBreak = (limitBytes is not null && policy == CopyErrorPolicy.BreakSnapshot) || world.Options.FullFolder is not null,
            })];
        await StartAsync(disks, sessions, $"{request.TempPath ?? "beside"}", () => world.Control.StartSessionsAsync(request));
    }

    private async Task<bool> StartAsync(
        WorldDisk[] disks, SessionTruth[] sessions, string about, Func<Task<IReadOnlyList<SessionInfo>>> start)
    {
        bool pauses = seeds.Chance(40);
        string who = string.Join(", ", sessions.Select(session => session.Describe()));
        world.Note($"starts {who}, temp {about}, guests {(pauses ? "wait" : "go on")}");
        if (pauses)
        {
            await Task.WhenAll(disks.Select(disk => disk.PauseAsync()));
        }

        try
        {
            foreach (SessionTruth session in sessions)
            {
                session.Start = sessions;
                session.Disk.BeginStart(session);
            }

            IReadOnlyList<SessionInfo> infos = await start();
            foreach (SessionTruth session in sessions)
            {
                session.Disk.Confirm(session, infos.Single(info => info.Disk == session.Disk.Name));
            }
        }
        catch (BlockException e) when (!ControlClient.IsLoss(e) && world.Options.FullFolder is not null && e.Kind == BlockErrors.NoSpace)
        {
            world.Note($"could not start: {e.Message}");
            Array.ForEach(sessions, session => session.Disk.Undo(session));
            return false;
        }
        finally
        {
            if (pauses)
            {
                Array.ForEach(disks, disk => disk.GoOn());
            }
        }

        for (int i = 0; i < disks.Length; i++)
        {
            await Snapshots.PinAsync(disks[i], sessions[i]);
        }

        world.Note("started");
        return true;
    }

    private async Task StopAsync(SessionTruth session)
    {
        bool isSuccess = seeds.Chance(60);
        session.EndsWithSuccess = isSuccess;
        world.Note($"stops {session.Id} with{(isSuccess ? string.Empty : "out")} success");
        await world.Control.StopSessionAsync(session.Id, session.InstantId, isSuccess);
        await Endings.ApplyAsync(world, session);
        world.Note("stopped");
    }

    // As a backup does: what the bitmap names is read and added to the backup, which then is the disk at the instant.
    private async Task RunNightAsync(WorldDisk disk)
    {
        if (FreeBitmap(disk) is not { } daily)
        {
            return;
        }

        SessionTruth session = new(disk.Truth, "night", daily, nextName: null, [])
        {
            IsJob = true,
            MayBreak = world.Options.FullFolder is not null,
        };
        SessionRequest request = new()
        {
            Disks = [new DiskReference(disk.Name)],
            Name = session.Name,
            Bitmap = new BitmapReference(daily.Name),
            TempPath = world.TempFolder,
        };
        ControlClient control = world.Control;
        if (!await StartAsync([disk], [session], "of a job", async () => [await control.BeginJobSessionAsync(request)]))
        {
            return;
        }

        bool isSuccess = seeds.Chance(80);
        try
        {
            if (isSuccess)
            {
                await Snapshots.JudgeAsync(disk, session, "in the night");
            }
        }
        catch (BlockException e) when (!Losses.IsLoss(e) && session.MayBreak)
        {
            isSuccess = false;
        }

        session.EndsWithSuccess = isSuccess;
        await control.EndJobSessionAsync(session.Id, session.InstantId, isSuccess);
        await Endings.ApplyAsync(world, session);
        world.Note("the night is over");
    }

    private BitmapTruth? FreeBitmap(WorldDisk disk) =>
        disk.Truth.Bitmaps.Find(bitmap => bitmap is { Name: "daily", PinnedBy: null, IsAsked: false });

    private string? PickTemp(WorldDisk[] disks, string name)
    {
        string? extension = seeds.Pick(null, string.Empty, ".qcow2", ".vhd", ".vhdx", ".raw");
        return
            extension is null ? null :
            extension.Length == 0 || disks.Length > 1 ? world.TempFolder :
            Path.Combine(world.TempFolder, string.Create(CultureInfo.InvariantCulture, $"{disks[0].Name}-{name}{extension}"));
    }

    private (int First, int Count)[] PickRanges(int sectorCount)
    {
        int units = sectorCount / Marks.UnitSectors;
        return [.. Enumerable.Range(0, 1 + seeds.Next(3)).Select(_ =>
        {
            int first = seeds.Next(units);
            return (first * Marks.UnitSectors, (1 + seeds.Next(Math.Min(units - first, units / 3))) * Marks.UnitSectors);
        })];
    }
}
