// SPDX-License-Identifier: MIT
using Fleece.Resuming.Tests.Truth;
using Fleece.Resuming.Tests.Worlds;
using Fleece.TestKit;

namespace Fleece.Resuming.Tests;

/// <summary>Faults that are planted while the host is down: the judge must find each.</summary>
public sealed class PlantedFaultTests
{
    private const int MostKills = 100;

    private static readonly string[] Formats = [".qcow2.", ".vhd.", ".vhdx."];

    [Fact]
    public async Task An_acknowledged_write_that_is_undone_is_found() => await AssertFoundAsync(" of the disk ", world =>
    {
        DiskTruth truth = world.Disks[0].Truth;
        int sector = Array.FindIndex(truth.Now, value => value >> 24 > 10);
        return sector >= 0 && Overwrite(world.Disks[0].Path, sector, new byte[Sectors.SizeBytes]);
    });

    [Fact]
    public async Task Half_a_sector_is_found() => await AssertFoundAsync("words that differ", world =>
    {
        DiskTruth truth = world.Disks[0].Truth;
        int sector = Array.FindIndex(truth.Now, value => value >> 24 > 10);
        return sector >= 0 && Overwrite(world.Disks[0].Path, sector, new byte[Sectors.SizeBytes / 2]);
    });

    [Fact]
    public async Task Old_data_that_is_wrong_is_found() => await AssertFoundAsync(" of the snapshot ", world =>
    {
        SessionTruth? session = world.Sessions.FirstOrDefault(session => WillBeRead(session) &&
            IsRawTemp(session.TempPath) &&
            !session.Consumers.Any(consumer => consumer.Clusters.AsSpan().ContainsAnyExcept(Consumed.No)));
        int sector = session is null ? -1 : FindCopied(session);
        if (sector < 0)
        {
            return false;
        }

        world.Note($"plants zeros as sector {sector} of the temp of {session!.Describe()}");
        return Overwrite(session.TempPath!, sector, new byte[Sectors.SizeBytes]);
    });

    [Fact]
    public async Task A_change_that_a_bitmap_misses_is_found() => await AssertFoundAsync("misses a change", world =>
    {
        BitmapTruth? bitmap = world.Disks[0].Truth.Bitmaps.Find(bitmap => bitmap is { IsAsked: false, PinnedBy: null });
        int unit = bitmap is null ? -1 : Array.IndexOf(bitmap.Marks.May, false);
        return unit >= 0 && (bitmap!.Marks.Must[unit] = true);
    });

    [Fact]
    public async Task A_consumed_range_that_can_be_read_again_is_found() => await AssertFoundAsync("was consumed and can be read", world =>
    {
        ConsumerTruth? consumer = world.Sessions.FirstOrDefault(WillBeRead)?.Consumers[0];
        int unit = consumer is null ? -1 : Array.IndexOf(consumer.Clusters, Consumed.No);
        if (unit < 0)
        {
            return false;
        }

        consumer!.Clusters[unit] = Consumed.Yes;
        return true;
    });

    [Fact]
    public async Task A_session_without_its_log_is_found() => await AssertFoundAsync(string.Empty, world =>
        world.Sessions.Any(session => session.CanResume) && RemoveLogs(world));

    [Fact]
    public async Task A_file_that_is_left_is_found() => await AssertFoundAsync("belongs to no session", world =>
    {
        File.WriteAllText(Path.Combine(world.TempFolder, "left.fleece-kept-temp"), "x");
        return true;
    });

    // Until the fault can be planted the judge finds nothing; then it does at once.
    private static async Task AssertFoundAsync(string words, Func<World, bool> tryPlant)
    {
        WorldOptions options = new([DiskKind.Raw, DiskKind.Raw]);
        await using World world = await World.CreateAsync(Seeds.FromEnvironment(), options);
        bool isPlanted = false;
        KillRun run = new(world) { WhileDown = () => isPlanted = isPlanted || tryPlant(world) };
        Finding? finding = null;
        for (int kill = 0; kill < MostKills && !isPlanted; kill++)
        {
            finding = await Record.ExceptionAsync(() => run.RunAsync(1)) as Finding;
            Assert.True(isPlanted || finding is null, finding?.Message);
        }

        Assert.SkipUnless(isPlanted, $"in {MostKills} kills there was no place for the fault");
        Assert.True(finding is not null, $"Nothing was found.\n{world.Tell()}");
        Assert.Contains(words, finding.Message, StringComparison.Ordinal);
    }

    private static bool Overwrite(string path, int sector, byte[] data)
    {
        // The time stays: a file that was changed by others is refused before it is read.
        DateTime modifiedAt = File.GetLastWriteTimeUtc(path);
        using (FileStream file = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.Position = (long)sector * Sectors.SizeBytes;
            file.Write(data);
        }

        File.SetLastWriteTimeUtc(path, modifiedAt);
        return true;
    }

    // One that may have broken, or was being ended, when the host was killed has no snapshot for the judge.
    private static bool WillBeRead(SessionTruth session) =>
        session is { CanResume: true, IsBroken: false, MayBreak: false, EndsWithSuccess: null, Limits: null };

    // One that the session has made, of which a sector of the disk has its place.
    private static bool IsRawTemp(string? path) =>
        path?.EndsWith(".fleece-kept-temp", StringComparison.Ordinal) == true &&
        !Array.Exists(Formats, format => Path.GetFileName(path).Contains(format, StringComparison.Ordinal));

    // A sector that is in temp: the disk has another value, and is known to have it.
    private static int FindCopied(SessionTruth session)
    {
        for (int sector = 0; sector < session.Base.Length; sector++)
        {
            if (session.Base[sector] != 0 && !session.IsDoubtful(sector) && session.Disk.HasChangedFrom(session.Base[sector], sector))
            {
                return sector;
            }
        }

        return -1;
    }

    private static bool RemoveLogs(World world)
    {
        string folder = Path.Combine(world.Place.StatePath, "sessions");
        string[] files = Directory.GetFiles(folder, "*.log");
        Array.ForEach(files, File.Delete);
        return files.Length != 0;
    }
}
