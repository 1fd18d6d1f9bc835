// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Fleece.Backups.Jobs;
using Fleece.Backups.Reading;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting.Client;
using Fleece.Hosting.Control;
using Fleece.Hosting.Local;
using Fleece.Hosting.Rpc;
using Fleece.Hosting.Tests.Host;
using Fleece.Nbd;

namespace Fleece.Hosting.Tests.Client;

/// <summary>Disks and snapshots of a real host, which look as they do in its process.</summary>
public sealed class HostOwnerTests : IAsyncDisposable
{
    private const int GranuleBytes = 64 * 1024;

    private readonly HostRig _rig = new();
    private HostOwner? _owner;

    private HostOwner Owner => _owner ??= new HostOwner(
        new HostAddress(_rig.SocketPath, RpcLibrary.Load, WireJson.Options) { RestartTimeout = TimeSpan.FromMilliseconds(100) });

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Records_of_a_disk_and_a_session_equal_those_of_the_hosts_process()
    {
        await MountAsync();
        LocalOwner local = _rig.Host.Owner;

        SessionInfo session = Assert.Single(await Owner.Sessions.StartSessionsAsync(Request() with { NextBitmap = "next" }, Token));

        Assert.Equal(await local.Sessions.ListSessionsAsync(Token), [session]);
        Assert.Equal(await local.Disks.ListDisksAsync(Token), await Owner.Disks.ListDisksAsync(Token));
        Assert.Equal(
            await local.Bitmaps.ListBitmapsAsync(new DiskReference("vm"), Token),
            await Owner.Bitmaps.ListBitmapsAsync(new DiskReference("vm"), Token));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_snapshot_is_known_as_it_is_in_the_hosts_process(bool isLimited)
    {
        await MountAsync();
        await Owner.Sessions.StartSessionsAsync(
            Request() with
            {
                Ranges = isLimited ? [new BlockRange(GranuleBytes, 3 * GranuleBytes)] : null,
                Consumers = ["one", "two"],
            },
            Token);
        SessionReference reference = new("vm") { Consumer = "one" };

        await using OpenedSnapshot here = await _rig.Host.Owner.OpenSnapshotAsync(reference, discards: true, Token);
        await using OpenedSnapshot there = await Owner.OpenSnapshotAsync(reference, discards: true, Token);

        AssertSame(here.Source, there.Source);
    }

    [Fact]
    public async Task A_snapshot_that_counts_from_a_backup_is_known_as_it_is_in_the_hosts_process()
    {
        await MountAsync();
        DiskReference vm = new("vm");
        await Owner.Bitmaps.CreateBitmapAsync(vm, "nightly", GranuleBytes, isEnabled: true, Token);
        SessionInfo first = Assert.Single(
            await Owner.Sessions.StartSessionsAsync(Request() with { Bitmap = new BitmapReference("nightly") }, Token));
        await Owner.Sessions.StopSessionAsync(new SessionReference(first.Id), isSuccess: true, Token);
        await WriteAsync(2 * GranuleBytes, 5 * GranuleBytes);

        await Owner.Sessions.StartSessionsAsync(Request() with { Bitmap = new BitmapReference("nightly") }, Token);
        await using OpenedSnapshot here = await _rig.Host.Owner.OpenSnapshotAsync(null, discards: false, Token);
        await using OpenedSnapshot there = await Owner.OpenSnapshotAsync(null, discards: false, Token);

        Assert.Equal(first.InstantId, there.Source.Identity!.BaselineId);
        AssertSame(here.Source, there.Source);
    }

    [Fact]
    public async Task A_snapshot_is_read_and_consumed_while_the_disk_is_written()
    {
        byte[] content = await MountAsync();
        await Owner.Sessions.StartSessionsAsync(Request(), Token);
        await WriteAsync(0, GranuleBytes);

        byte[] read = new byte[content.Length];
        await using (OpenedSnapshot snapshot = await Owner.OpenSnapshotAsync(null, discards: true, Token))
        {
            await using SnapshotRead chunks = new(snapshot.Source, new SnapshotReadOptions { DiscardConsumed = true });
            while (await chunks.NextAsync(Token) is { } chunk)
            {
                chunk.Data.CopyTo(read.AsSpan((int)chunk.OffsetBytes));
                chunk.Dispose();
            }
        }

        Assert.Equal(content, read);
        await HostRig.UntilAsync(() => Assert.Single(_rig.Mounted.Sessions).ConsumedBytes == content.Length);
    }

    [Fact]
    public async Task Refused_reads_have_the_kinds_and_texts_that_they_have_in_the_hosts_process()
    {
        await MountAsync();
        await Owner.Sessions.StartSessionsAsync(Request() with { Ranges = [new BlockRange(0, 4 * GranuleBytes)] }, Token);
        await using OpenedSnapshot here = await _rig.Host.Owner.OpenSnapshotAsync(null, discards: true, Token);
        await using OpenedSnapshot there = await Owner.OpenSnapshotAsync(null, discards: true, Token);
        await there.Source.Snapshot.DiscardAsync(0, GranuleBytes, Token);

        await AssertFailsAlikeAsync(BlockErrors.Consumed, here, there, device => device.ReadAsync(0, new byte[4096], Token));
        await AssertFailsAlikeAsync(BlockErrors.Denied, here, there, device => device.ReadAsync(8 * GranuleBytes, new byte[4096], Token));
        await AssertFailsAlikeAsync(BlockErrors.OutOfRange, here, there, device => device.ReadAsync(1 << 20, new byte[4096], Token));
        await Assert.ThrowsAsync<BlockException>(() => there.Source.Snapshot.WriteAsync(0, new byte[4096]).AsTask());
    }

    [Fact]
    public async Task A_snapshot_whose_session_ended_says_that_it_has_stopped()
    {
        await MountAsync();
        await Owner.Sessions.StartSessionsAsync(Request(), Token);
        await using OpenedSnapshot snapshot = await Owner.OpenSnapshotAsync(null, discards: false, Token);
        await Owner.Sessions.StopSessionAsync(new SessionReference("vm"), isSuccess: false, Token);

        BlockException e = await Assert.ThrowsAsync<BlockException>(
            () => snapshot.Source.Snapshot.ReadAsync(0, new byte[4096], Token).AsTask());

        Assert.Equal(BlockErrors.Stopped, e.Kind);
    }

    [Fact]
    public async Task A_disk_is_read_and_written()
    {
        byte[] content = await MountAsync();
        await using OpenedDisk disk = await Owner.OpenDiskAsync(new DiskReference("VM"), Token);
        byte[] read = new byte[content.Length];

        await disk.Device.WriteAsync(4096, new byte[4096], cancellationToken: Token);
        await disk.Device.ReadAsync(0, read, Token);

        Assert.Equal("vm", disk.Name);
        Assert.Equal([.. content[..4096], .. new byte[4096], .. content[8192..]], read);
    }

    [Fact]
    public async Task A_disk_that_is_mounted_read_only_refuses_writes_as_in_the_hosts_process()
    {
        await MountAsync(isReadOnly: true);
        await using OpenedDisk here = await _rig.Host.Owner.OpenDiskAsync(new DiskReference("vm"), Token);
        await using OpenedDisk there = await Owner.OpenDiskAsync(new DiskReference("vm"), Token);

        BlockException expected = await Assert.ThrowsAsync<BlockException>(() => here.Device.WriteAsync(0, new byte[4096]).AsTask());
        BlockException e = await Assert.ThrowsAsync<BlockException>(() => there.Device.WriteAsync(0, new byte[4096]).AsTask());

        Assert.Equal((BlockErrors.ReadOnly, expected.Message), (e.Kind, e.Message));
    }

    [Fact]
    public async Task A_disk_that_was_dismounted_says_that_it_is_closed()
    {
        await MountAsync();
        await using OpenedDisk disk = await Owner.OpenDiskAsync(new DiskReference("vm"), Token);
        await Owner.Disks.DismountAsync(new DiskReference("vm"), isForced: true, Token);

        BlockException e = await Assert.ThrowsAsync<BlockException>(() => disk.Device.ReadAsync(0, new byte[4096], Token).AsTask());

        Assert.Equal(BlockErrors.Closed, e.Kind);
    }

    [Fact]
    public async Task A_reader_hears_that_temp_is_near_its_limit()
    {
        await MountAsync();
        await Owner.Sessions.StartSessionsAsync(Request() with { TempLimitBytes = 10 * GranuleBytes }, Token);
        await using OpenedSnapshot snapshot = await Owner.OpenSnapshotAsync(null, discards: false, Token);

        await WriteAsync(0, 9 * GranuleBytes + 4096);

        string? warning = null;
        await HostRig.UntilAsync(() => (warning ??= snapshot.Source.TakeWarning()) is not null);
        Assert.Contains("-TempLimitBytes", warning, StringComparison.Ordinal);
        Assert.Null(snapshot.Source.TakeWarning());
    }

    [Fact]
    public async Task The_hosts_log_says_that_temp_is_near_its_limit()
    {
        await MountAsync();
        SessionRequest request = Request() with
        {
            TempLimitBytes = 10 * GranuleBytes,
            TempWarningPercent = 30,
            MaxGuestDelay = TimeSpan.FromMilliseconds(20),
        };
        SessionInfo session = Assert.Single(await Owner.Sessions.StartSessionsAsync(request, Token));

        await WriteAsync(0, 3 * GranuleBytes);

        Assert.Equal((30, TimeSpan.FromMilliseconds(20)), (session.TempWarningPercent, session.MaxGuestDelay));
        await HostRig.UntilAsync(() => _rig.Log.ToString().Contains("-TempLimitBytes", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_reader_hears_where_the_guest_writes()
    {
        await MountAsync();
        await Owner.Sessions.StartSessionsAsync(Request(), Token);
        await WriteAsync(8 * GranuleBytes, 4096);
        await using OpenedSnapshot snapshot = await Owner.OpenSnapshotAsync(null, discards: true, Token);
        SnapshotReadOptions options = new()
        {
            ChunkSizeBytes = GranuleBytes,
            Order = SnapshotReadOrder.AtRiskFirst,
            DiscardConsumed = true,
        };
        await using SnapshotRead read = new(snapshot.Source, options);

        SnapshotChunk first = (await read.NextAsync(Token))!;

        Assert.Equal(9 * GranuleBytes, first.OffsetBytes);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_job_begins_and_ends_a_session_and_its_bitmap_counts_from_it_only_after_success(bool isSuccess)
    {
        await MountAsync();
        IFleeceable disk = (await Owner.FindFleeceablesAsync([new DiskReference("vm")], Token)).Disks[0];
        await disk.CreateBitmapAsync("job", Token);

        IFleeceSession session = await disk.BeginSessionAsync(new SessionOptions { Bitmap = "job" }, Token);
        Guid instant = session.Identity!.Id;
        Assert.Equal("vm/vm", session.Id);
        await disk.FlushAsync(Token);

        Assert.Equal(isSuccess, await session.EndAsync(isSuccess));
        Assert.Equal(isSuccess, await session.EndAsync(!isSuccess));
        Assert.Equal(isSuccess ? instant : null, Assert.Single(await disk.ListBitmapsAsync(Token)).BaselineId);
        Assert.Empty(_rig.Mounted.Sessions);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_jobs_session_that_was_stopped_meanwhile_ends_quietly_and_its_bitmap_counts_as_it_was_stopped(bool isSuccess)
    {
        await MountAsync();
        IFleeceable disk = (await Owner.FindFleeceablesAsync([new DiskReference("vm")], Token)).Disks[0];
        await disk.CreateBitmapAsync("job", Token);
        IFleeceSession session = await disk.BeginSessionAsync(new SessionOptions { Bitmap = "job" }, Token);
        await Owner.Sessions.StopSessionAsync(new SessionReference("vm"), isSuccess, Token);

        Assert.Equal(isSuccess, await session.EndAsync(isSuccess: true));
    }

    [Fact]
    public async Task A_job_whose_session_was_stopped_says_that_and_that_no_backup_was_made()
    {
        await MountAsync(sizeBytes: 64 << 20);
        IFleeceable disk = (await Owner.FindFleeceablesAsync([new DiskReference("vm")], Token)).Disks[0];
        string repository = _rig.Folder.File("repository");
        BlockException e;
        await using (BackupJob job = await BackupJob.StartAsync(disk, new BackupJobOptions { RepositoryPath = repository }, Token))
        {
            SessionInfo session = Assert.Single(await Owner.Sessions.ListSessionsAsync(Token));
            await Owner.Sessions.StopSessionAsync(new SessionReference(session.Id), isSuccess: false, Token);

            e = await Assert.ThrowsAsync<BlockException>(async () =>
            {
                while (await job.StepAsync(Token))
                {
                }
            });
        }

        Assert.Equal(BlockErrors.Stopped, e.Kind);
        Assert.Contains("was stopped", e.Message, StringComparison.Ordinal);
        Assert.Contains("No backup was made", e.Message, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFiles(repository, "*.qcow2"));
    }

    [Fact]
    public async Task A_job_whose_host_has_ended_says_that_no_backup_was_made_and_what_the_next_run_does()
    {
        await MountAsync(sizeBytes: 64 << 20);
        IFleeceable disk = (await Owner.FindFleeceablesAsync([new DiskReference("vm")], Token)).Disks[0];
        BlockException e;
        await using (BackupJob job = await BackupJob.StartAsync(
            disk, new BackupJobOptions { RepositoryPath = _rig.Folder.File("repository") }, Token))
        {
            await _rig.StopAsync();

            e = await Assert.ThrowsAsync<BlockException>(async () =>
            {
                while (await job.StepAsync(Token))
                {
                }
            });
        }

        Assert.True(e.Kind is NbdErrors.ConnectionLost or BlockErrors.Stopped); // The host stops the session, then the connection.
        Assert.Contains("No backup was made", e.Message, StringComparison.Ordinal);
        Assert.Contains("Run the job again", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_jobs_session_ends_quietly_when_its_host_was_started_again()
    {
        await MountAsync();
        IFleeceable disk = (await Owner.FindFleeceablesAsync([new DiskReference("vm")], Token)).Disks[0];
        await disk.CreateBitmapAsync("job", Token);
        IFleeceSession session = await disk.BeginSessionAsync(new SessionOptions { Bitmap = "job" }, Token);
        await _rig.StartAsync();

        BlockException e = await Assert.ThrowsAsync<BlockException>(() => session.Snapshot.ReadAsync(0, new byte[4096], Token).AsTask());
        BlockException flush = await Assert.ThrowsAsync<BlockException>(() => disk.FlushAsync(Token).AsTask());

        Assert.Equal(NbdErrors.ConnectionLost, e.Kind);
        Assert.Contains("was started again", e.Message, StringComparison.Ordinal);
        Assert.Equal(BlockErrors.Closed, flush.Kind);
        Assert.False(await session.EndAsync(isSuccess: true));
    }

    [Fact]
    public async Task The_client_finds_the_disks_of_a_host_that_was_restarted()
    {
        await MountAsync();
        DiskInfo before = await Owner.Disks.FindDiskAsync(new DiskReference("vm"), Token);
        await _rig.StartAsync();

        DiskInfo after = await Owner.Disks.FindDiskAsync(new DiskReference("vm"), Token);

        Assert.Equal(before.Path, after.Path);
        Assert.NotEqual(before.MountId, after.MountId);
        Assert.Equal(1, (await Owner.GetInfoAsync(Token)).DiskCount);
    }

    public async ValueTask DisposeAsync()
    {
        if (_owner is not null)
        {
            await _owner.DisposeAsync();
        }

        await _rig.DisposeAsync();
    }

    private static SessionRequest Request() => new() { Disks = [new DiskReference("vm")], GranuleSizeBytes = GranuleBytes };

    private static void AssertSame(ISnapshotSource here, ISnapshotSource there)
    {
        Assert.Equal(here.Id, there.Id);
        Assert.Equal(here.Address, there.Address);
        Assert.Equal(here.Consumer, there.Consumer);
        Assert.Equal(here.SizeBytes, there.SizeBytes);
        Assert.Equal(here.Instant, there.Instant);
        Assert.Equal(here.GranuleSizeBytes, there.GranuleSizeBytes);
        Assert.Equal(here.Identity!.Ranges, there.Identity!.Ranges);
        Assert.Equal(here.Identity with { Ranges = null }, there.Identity with { Ranges = null });
    }

    private static async Task AssertFailsAlikeAsync(
        string kind, OpenedSnapshot here, OpenedSnapshot there, Func<BlockDevice, ValueTask> request)
    {
        BlockException expected = await Assert.ThrowsAsync<BlockException>(() => request(here.Source.Snapshot).AsTask());
        BlockException e = await Assert.ThrowsAsync<BlockException>(() => request(there.Source.Snapshot).AsTask());
        Assert.Equal((kind, expected.Message), (e.Kind, e.Message));
    }

    private async Task<byte[]> MountAsync(bool isReadOnly = false, int sizeBytes = 1 << 20)
    {
        await _rig.StartAsync();
        byte[] content = RandomNumberGenerator.GetBytes(sizeBytes);
        await File.WriteAllBytesAsync(_rig.Folder.File("vm.raw"), content, Token);
        await Owner.Disks.MountAsync(new MountRequest { Address = _rig.Folder.File("vm.raw"), IsReadOnly = isReadOnly }, Token);
        return content;
    }

    private async Task WriteAsync(long offsetBytes, int lengthBytes)
    {
        await using OpenedDisk disk = await Owner.OpenDiskAsync(new DiskReference("vm"), Token);
        await disk.Device.WriteAsync(offsetBytes, new byte[lengthBytes / 4096 * 4096], cancellationToken: Token);
    }
}
