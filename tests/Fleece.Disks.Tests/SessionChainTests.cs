// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Disks.Tests;

public sealed class SessionChainTests
{
    private const int SizeBytes = 256 * 1024 + 512;

    [Theory]
    [InlineData(0, 1, 2)]
    [InlineData(0, 2, 1)]
    [InlineData(1, 0, 2)]
    [InlineData(1, 2, 0)]
    [InlineData(2, 0, 1)]
    [InlineData(2, 1, 0)]
    public async Task Sessions_of_one_disk_show_their_own_instants_and_stop_in_any_order(int first, int second, int third)
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        List<(Session Session, byte[] Instant)> sessions = [];
        foreach (string name in (string[])["a", "b", "c"])
        {
            byte[] instant = new byte[SizeBytes];
            await disk.Device.ReadAsync(0, instant);
            sessions.Add((await Rig.StartAsync(disk, new SessionOptions { Name = name }), instant));
            await ScribbleAsync(rig, disk);
        }

        foreach (int index in (int[])[first, second, third])
        {
            await sessions[index].Session.StopAsync();
            await ScribbleAsync(rig, disk);
            foreach ((Session session, byte[] instant) in sessions.Where(entry => disk.Sessions.Contains(entry.Session)))
            {
                Assert.Equal(instant, await Rig.ReadAllAsync(session));
            }
        }

        Assert.Empty(disk.Sessions);
    }

    [Fact]
    public async Task Two_consumers_of_one_name_are_refused_whatever_its_case()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(
            async () => await Rig.StartAsync(disk, new SessionOptions { Consumers = ["local", "offsite", "Local"] }));

        Assert.Equal(BlockErrors.InvalidArgument, refusal.Kind);
        Assert.Contains("'Local' is named twice", refusal.Message, StringComparison.Ordinal);
        Assert.Empty(disk.Sessions);
    }

    // A writer numbers its writes and sends each number to disk A first and to disk B second. At one common instant B can be
    // at most one behind A and never ahead.
    [Fact]
    public async Task Sessions_over_two_disks_start_at_one_instant()
    {
        await using Rig rig = new();
        Disk a = await rig.AddDiskAsync("a", SizeBytes);
        Disk b = await rig.AddDiskAsync("b", SizeBytes);
        using CancellationTokenSource stop = new();
        Task writer = Task.Run(async () =>
        {
            for (long number = 1; !stop.IsCancellationRequested; number++)
            {
                await a.Device.WriteAsync(0, BitConverter.GetBytes(number));
                await b.Device.WriteAsync(0, BitConverter.GetBytes(number));
            }
        });
        for (int round = 0; round < 50; round++)
        {
            IReadOnlyList<Session> sessions = await Session.StartAsync([a, b], new SessionOptions());
            byte[] number = new byte[sizeof(long)];
            await sessions.Single(session => session.Disk == a).Snapshot.ReadAsync(0, number);
            long numberOfA = BitConverter.ToInt64(number);
            await sessions.Single(session => session.Disk == b).Snapshot.ReadAsync(0, number);
            Assert.InRange(numberOfA - BitConverter.ToInt64(number), 0, 1);
            Assert.Equal(sessions[0].StartedAt, sessions[1].StartedAt);
            await Task.WhenAll(sessions.Select(session => session.StopAsync()));
        }

        await stop.CancelAsync();
        await writer;
    }

    [Fact]
    public async Task A_start_that_fails_on_the_second_disk_leaves_no_session_and_no_file()
    {
        await using Rig rig = new();
        Disk a = await rig.AddDiskAsync("a", SizeBytes);
        Disk b = await rig.AddDiskAsync("b", SizeBytes);
        Session taken = await Rig.StartAsync(b, new SessionOptions { Name = "nightly" });
        string[] filesBefore = Directory.GetFiles(rig.Folder.Path);

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            async () => await Session.StartAsync([a, b], new SessionOptions { Name = "nightly" }));

        Assert.Equal(DiskErrors.SessionNameInUse, error.Kind);
        Assert.Empty(a.Sessions);
        Assert.Equal([taken], b.Sessions);
        Assert.Equal(filesBefore.Order(), Directory.GetFiles(rig.Folder.Path).Order());
        await a.Device.WriteAsync(0, new byte[512]);
    }

    // Two reads of a snapshot with guests writing in between must agree, session after session, and every session must leave
    // the chain as it found it.
    [Fact]
    public async Task Sessions_come_and_go_under_writing_guests()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        using CancellationTokenSource stop = new();
        Task[] guests = [.. Enumerable.Range(0, 2).Select(_ => rig.Seeds.Fork()).Select(seeds => Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                BlockRange range = seeds.Range(SizeBytes);
                await disk.Device.WriteAsync(range.OffsetBytes, seeds.Bytes(Math.Min(range.LengthBytes, 20_000)));
            }
        }))];
        IBlockNode image = disk.Chain.Tracking.Below;
        for (int round = 0; round < 60; round++)
        {
            Session older = await Rig.StartAsync(disk, new SessionOptions { Name = "older" });
            byte[] olderContent = await Rig.ReadAllAsync(older);
            Session newer = await Rig.StartAsync(disk, new SessionOptions { Name = "newer", GranuleSizeBytes = 512 });
            byte[] newerContent = await Rig.ReadAllAsync(newer);
            Assert.Equal(olderContent, await Rig.ReadAllAsync(older));
            await older.StopAsync();
            Assert.Equal(newerContent, await Rig.ReadAllAsync(newer));
            await newer.StopAsync();
            Assert.Same(image, disk.Chain.Tracking.Below);
        }

        await stop.CancelAsync();
        await Task.WhenAll(guests);
    }

    [Fact]
    public async Task A_stopped_session_refuses_reads_and_its_temp_file_is_gone()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        Session session = await Rig.StartAsync(disk);
        Assert.True(File.Exists(session.TempPath));

        await session.StopAsync();
        await session.StopAsync();

        Assert.False(File.Exists(session.TempPath));
        BlockException error = await Assert.ThrowsAsync<BlockException>(() => Rig.ReadAllAsync(session));
        Assert.Equal(BlockErrors.Stopped, error.Kind);
    }

    [Fact]
    public async Task A_temp_file_that_the_session_made_is_its_owners_alone()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no file modes");
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", SizeBytes));

#pragma warning disable CA1416 // The analyzer does not see that the skip above keeps Windows out.
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(session.TempPath));
#pragma warning restore CA1416
    }

    [Fact]
    public async Task A_temp_image_that_was_there_before_is_kept()
    {
        await using Rig rig = new();
        byte[] content = rig.Seeds.Bytes(SizeBytes);
        Disk disk = await rig.AddDiskAsync("vm", content);
        string tempPath = rig.Folder.File("temp.raw");
        await File.WriteAllBytesAsync(tempPath, rig.Seeds.Bytes(SizeBytes * 2));
        Session session = await Rig.StartAsync(disk, new SessionOptions { TempPath = tempPath });

        await disk.Device.WriteZeroesAsync(0, SizeBytes);

        Assert.Equal(content, await Rig.ReadAllAsync(session));
        await session.StopAsync();
        Assert.True(File.Exists(tempPath));
    }

    [Fact]
    public async Task Dismounting_waits_for_sessions_and_leaves_no_temp_file()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await Rig.StartAsync(disk, new SessionOptions { Name = "a" });
        await Rig.StartAsync(disk, new SessionOptions { Name = "b" });

        await disk.DisposeAsync();

        Assert.Equal([disk.Path], Directory.GetFiles(rig.Folder.Path));
        await Assert.ThrowsAsync<BlockException>(() => Rig.StartAsync(disk));
        Assert.Equal([disk.Path], Directory.GetFiles(rig.Folder.Path));
    }

    private static async Task ScribbleAsync(Rig rig, Disk disk)
    {
        for (int i = 0; i < 20; i++)
        {
            BlockRange range = rig.Seeds.Range(SizeBytes);
            if (rig.Seeds.Chance(70))
            {
                await disk.Device.WriteAsync(range.OffsetBytes, rig.Seeds.Bytes(Math.Min(range.LengthBytes, 30_000)));
            }
            else
            {
                await disk.Device.DiscardAsync(range.OffsetBytes, Math.Min(range.LengthBytes, 30_000));
            }
        }
    }
}
