// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Hosting.Control;
using Fleece.Hosting.State;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Hosting.Tests.Host;

/// <summary>Guests of a host that did not end in order hear once that writes may be lost.</summary>
public sealed class LostWritesTests : IAsyncDisposable
{
    private static readonly Guid OtherBoot = new("0f8fad5b-d9cb-469f-a165-70867728950e");

    private readonly HostRig _rig = new();

    private string JournalPath => _rig.Folder.File("web.img.fleece-journal");

    private string StateFile => Path.Combine(_rig.StatePath, "state.json");

    // Keeps the state from being replaced.
    private string StateObstacle => Path.Combine(StateFile + ".partial", "obstacle");

    private string Socket => $"nbd+unix:///web?socket={_rig.Folder.File("web.sock")}";

    [Fact]
    public async Task The_first_flush_fails_and_the_next_one_succeeds()
    {
        await ServeAfterKillAsync(ImageFormat.Vhdx, BootId.Current);
        await using NbdNode guest = await ConnectAsync(Socket);

        BlockException told = await Assert.ThrowsAsync<BlockException>(() => guest.FlushAsync(default).AsTask());
        await guest.FlushAsync(default);

        Assert.Equal(BlockErrors.IoFailed, told.Kind);
        Assert.Contains("may be lost", told.Message, StringComparison.Ordinal);
        await HostRig.UntilAsync(() => _rig.Log.ToString().Contains("a guest's flush failed", StringComparison.Ordinal));
        Assert.Contains("did not end in order", Assert.Single(_rig.Mounted.Find("web").Describe().Notes), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_write_with_FUA_is_told_too()
    {
        await ServeAfterKillAsync(ImageFormat.Qcow2, BootId.Current);
        await using NbdNode guest = await ConnectAsync(Socket);

        await guest.WriteAsync(0, new byte[512], WriteFlags.None, default);
        await Assert.ThrowsAsync<BlockException>(() => guest.WriteAsync(0, new byte[512], WriteFlags.ForceUnitAccess, default).AsTask());

        await guest.WriteAsync(0, new byte[512], WriteFlags.ForceUnitAccess, default);
        await guest.FlushAsync(default);
    }

    [Fact]
    public async Task Flushes_of_the_host_and_of_its_clients_tell_nobody()
    {
        await ServeAfterKillAsync(ImageFormat.Vhdx, BootId.Current);

        await _rig.Mounted.Find("web").Device.FlushAsync(TestContext.Current.CancellationToken);

        await using NbdNode guest = await ConnectAsync(Socket);
        await Assert.ThrowsAsync<BlockException>(() => guest.FlushAsync(default).AsTask());
    }

    [Fact]
    public async Task A_raw_image_loses_nothing_in_the_same_run_of_the_system()
    {
        await ServeAfterKillAsync(ImageFormat.Raw, BootId.Current, hadJournal: true);
        await using NbdNode guest = await ConnectAsync(Socket);

        await guest.FlushAsync(default);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_the_system_could_not_store_of_a_raw_image_is_told_by_the_next_host_when_no_guest_has_asked(bool isKilled)
    {
        await MountAsync(ImageFormat.Raw, listenBeyond: false);
        _rig.Mounted.Find("web").Storage.LostWrites.Note("The system could not store it.", reachesThisMachine: true, isLasting: true);
        await HostRig.UntilAsync(() => ReadState().UnjournaledInBoot == BootId.Current);
        byte[] state = await File.ReadAllBytesAsync(StateFile, TestContext.Current.CancellationToken);
        await _rig.StopAsync();
        Assert.Equal(BootId.Current, ReadState().UnjournaledInBoot);
        if (isKilled)
        {
            await File.WriteAllBytesAsync(StateFile, state, TestContext.Current.CancellationToken);
        }

        await _rig.StartAsync();

        await using NbdNode guest = await ConnectAsync(Socket);
        BlockException told = await Assert.ThrowsAsync<BlockException>(() => guest.FlushAsync(default).AsTask());
        Assert.Contains("could not store", told.Message, StringComparison.Ordinal);
        await guest.FlushAsync(default);
        await HostRig.UntilAsync(() => ReadState().UnjournaledInBoot is null);
    }

    [Fact]
    public async Task What_the_system_could_not_store_is_told_once_and_forgotten()
    {
        await MountAsync(ImageFormat.Raw, listenBeyond: false);
        _rig.Mounted.Find("web").Storage.LostWrites.Note("The system could not store it.", reachesThisMachine: true, isLasting: true);
        await HostRig.UntilAsync(() => ReadState().UnjournaledInBoot == BootId.Current);

        await using NbdNode guest = await ConnectAsync(Socket);
        BlockException told = await Assert.ThrowsAsync<BlockException>(() => guest.FlushAsync(default).AsTask());

        Assert.Contains("Later flushes fail too", told.Message, StringComparison.Ordinal);
        await HostRig.UntilAsync(() => ReadState().UnjournaledInBoot is null);
    }

    [Fact]
    public async Task A_state_of_an_older_Fleece_tells_guests_of_a_disk_without_tables_nothing_once_it_was_served()
    {
        await MountAsync(ImageFormat.Raw, listenBeyond: true);
        await _rig.StopAsync();
        LeaveAsKilled(disk => disk with { ServedInBoot = BootId.Current, UnjournaledInBoot = Guid.Empty });

        await _rig.StartAsync();

        Assert.Null(_rig.Mounted.Find("web").Storage.LostWrites.Reason);
    }

    [Fact]
    public async Task An_image_whose_journal_is_gone_may_have_lost_writes()
    {
        await ServeAfterKillAsync(ImageFormat.Vhdx, BootId.Current, hadJournal: true, losesJournal: true);

        Assert.Equal(BootId.Current, ReadState().UnjournaledInBoot);
        await using NbdNode guest = await ConnectAsync(Socket);
        await Assert.ThrowsAsync<BlockException>(() => guest.FlushAsync(default).AsTask());
        await guest.FlushAsync(default);
    }

    // It was closed whole before the host was killed.
    [Fact]
    public async Task An_image_whose_journal_says_that_it_was_closed_has_lost_nothing()
    {
        await ServeAfterKillAsync(ImageFormat.Vhdx, BootId.Current, hadJournal: true);
        await using NbdNode guest = await ConnectAsync(Socket);

        await guest.FlushAsync(default);
    }

    [Fact]
    public async Task An_image_that_is_served_without_a_journal_is_noted_as_such_before_guests_reach_it()
    {
        Directory.CreateDirectory(JournalPath);
        await MountAsync(ImageFormat.Qcow2, listenBeyond: false);
        Assert.Equal(BootId.Current, ReadState().UnjournaledInBoot);
        await _rig.StopAsync();
        Assert.Null(ReadState().UnjournaledInBoot);

        await _rig.StartAsync();

        Assert.Equal(BootId.Current, ReadState().UnjournaledInBoot);
    }

    [Fact]
    public async Task A_journal_that_did_not_hold_is_told_by_the_next_host_when_this_one_is_killed_before_it_told()
    {
        await MountAsync(ImageFormat.Qcow2, listenBeyond: false);
        await _rig.StopAsync();
        await File.WriteAllTextAsync(JournalPath, "no journal", TestContext.Current.CancellationToken);

        await _rig.StartAsync();

        Assert.Equal(BootId.Current, ReadState().UnjournaledInBoot);
        await using (NbdNode guest = await ConnectAsync(Socket))
        {
            await Assert.ThrowsAsync<BlockException>(() => guest.FlushAsync(default).AsTask());
        }

        await HostRig.UntilAsync(() => ReadState().UnjournaledInBoot is null);
    }

    [Theory]
    [InlineData(ImageFormat.Raw)]
    [InlineData(ImageFormat.Qcow2)]
    public async Task After_a_stop_of_the_system_clients_beyond_the_machine_hear_of_it_and_those_of_the_machine_do_not(ImageFormat format)
    {
        await ServeAfterKillAsync(format, OtherBoot, listenBeyond: true);
        await using NbdNode near = await ConnectAsync(Socket);
        string farUri = _rig.Mounted.Exports.All[1].Uri.ToString();
        await using NbdNode far = await ConnectAsync(farUri.Replace("0.0.0.0", "127.0.0.1", StringComparison.Ordinal));

        await near.FlushAsync(default);
        await Assert.ThrowsAsync<BlockException>(() => far.FlushAsync(default).AsTask());

        await far.FlushAsync(default);
    }

    [Fact]
    public async Task A_loss_that_no_guest_was_told_of_is_told_by_the_next_host()
    {
        await ServeAfterKillAsync(ImageFormat.Vhdx, BootId.Current);

        await _rig.StartAsync();

        await using NbdNode guest = await ConnectAsync(Socket);
        await Assert.ThrowsAsync<BlockException>(() => guest.FlushAsync(default).AsTask());
    }

    [Fact]
    public async Task A_loss_that_a_guest_was_told_of_is_told_by_no_later_host()
    {
        await ServeAfterKillAsync(ImageFormat.Vhdx, BootId.Current);
        await using (NbdNode guest = await ConnectAsync(Socket))
        {
            await Assert.ThrowsAsync<BlockException>(() => guest.FlushAsync(default).AsTask());
        }

        await _rig.StartAsync();

        await using NbdNode again = await ConnectAsync(Socket);
        await again.FlushAsync(default);
    }

    [Fact]
    public async Task A_loss_that_could_not_be_noted_is_told_by_the_next_host()
    {
        await MountAsync(ImageFormat.Qcow2, listenBeyond: false);
        await _rig.StopAsync();
        LeaveAsKilled(disk => disk with { ServedInBoot = BootId.Current });
        await File.WriteAllTextAsync(JournalPath, "no journal", TestContext.Current.CancellationToken);
        Directory.CreateDirectory(StateObstacle);
        await _rig.StartAsync();
        Assert.Null(ReadState().UnjournaledInBoot);
        await _rig.StopAsync();
        Directory.Delete(StateObstacle);
        Directory.Delete(Path.GetDirectoryName(StateObstacle)!);

        await _rig.StartAsync();

        Assert.Equal(BootId.Current, ReadState().UnjournaledInBoot);
        await using NbdNode guest = await ConnectAsync(Socket);
        await Assert.ThrowsAsync<BlockException>(() => guest.FlushAsync(default).AsTask());
    }

    [Fact]
    public async Task A_mount_that_could_not_be_noted_leaves_its_loss_to_the_next_one()
    {
        string path = await CreateAsync(ImageFormat.Qcow2);
        await File.WriteAllTextAsync(JournalPath, "no journal", TestContext.Current.CancellationToken);
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        MountRequest request = new()
        {
            Address = path,
            Name = "web",
            Format = ImageFormat.Qcow2,
            Listeners = [new() { ListenUri = Socket }],
        };
        Directory.CreateDirectory(StateObstacle);
        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => client.MountAsync(request));
        Assert.Contains("the host can't note it", refused.Message, StringComparison.Ordinal);
        Directory.Delete(StateObstacle);
        Directory.Delete(Path.GetDirectoryName(StateObstacle)!);

        await client.MountAsync(request);

        Assert.Equal(BootId.Current, ReadState().UnjournaledInBoot);
        await using NbdNode guest = await ConnectAsync(Socket);
        await Assert.ThrowsAsync<BlockException>(() => guest.FlushAsync(default).AsTask());
        await HostRig.UntilAsync(() => ReadState().UnjournaledInBoot is null);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task An_image_that_was_moved_after_a_kill_may_have_lost_writes_unless_its_journal_was_moved_too(bool isAlone)
    {
        await MountAsync(ImageFormat.Qcow2, listenBeyond: false);
        await _rig.StopAsync();
        LeaveAsKilled(disk => disk with { ServedInBoot = BootId.Current });
        string moved = _rig.Folder.File("moved.img");
        File.Move(_rig.Folder.File("web.img"), moved);
        await _rig.StartAsync();
        Assert.Contains(JournalPath, Assert.Single(_rig.Host.Describe().Problems), StringComparison.Ordinal);
        if (!isAlone)
        {
            File.Move(JournalPath, moved + ".fleece-journal");
        }

        TestClient client = await _rig.ConnectAsync();
        await client.DismountAsync("web");
        MountRequest request = new()
        {
            Address = moved,
            Name = "web",
            Format = ImageFormat.Qcow2,
            Listeners = [new() { ListenUri = Socket }],
        };
        await client.MountAsync(request);

        Assert.Equal(isAlone ? BootId.Current : null, ReadState().UnjournaledInBoot);
        await using (NbdNode guest = await ConnectAsync(Socket))
        {
            if (isAlone)
            {
                await Assert.ThrowsAsync<BlockException>(() => guest.FlushAsync(default).AsTask());
            }

            await guest.FlushAsync(default);
        }

        await client.DismountAsync("web");
        await client.MountAsync(request);
        Assert.Empty(_rig.Mounted.Find("web").Describe().Notes);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_disk_that_was_served_before_a_stop_of_the_system_counts_as_served_in_this_run_too(bool losesJournal)
    {
        await ServeAfterKillAsync(ImageFormat.Vhdx, OtherBoot, listenBeyond: true, hadJournal: true);
        Assert.Equal(BootId.Current, ReadState().ServedInBoot);
        Assert.Equal(OtherBoot, ReadState().UnjournaledInBoot);
        byte[] state = await File.ReadAllBytesAsync(StateFile, TestContext.Current.CancellationToken);
        await _rig.StopAsync();
        await File.WriteAllBytesAsync(StateFile, state, TestContext.Current.CancellationToken);
        if (losesJournal)
        {
            File.Delete(JournalPath);
        }

        await _rig.StartAsync();

        string farUri = _rig.Mounted.Exports.All[1].Uri.ToString();
        await using NbdNode guest = await ConnectAsync(
            losesJournal ? Socket : farUri.Replace("0.0.0.0", "127.0.0.1", StringComparison.Ordinal));
        await Assert.ThrowsAsync<BlockException>(() => guest.FlushAsync(default).AsTask());
        await HostRig.UntilAsync(() => ReadState() is { UnjournaledInBoot: null } told && told.ServedInBoot == BootId.Current);
    }

    [Fact]
    public async Task An_orderly_end_loses_nothing()
    {
        await MountAsync(ImageFormat.Vhdx, listenBeyond: false);

        await _rig.StartAsync();

        await using NbdNode guest = await ConnectAsync(Socket);
        await guest.FlushAsync(default);
    }

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    private static ValueTask<NbdNode> ConnectAsync(string uri) =>
        NbdNode.ConnectAsync(NbdUri.Parse(uri), new NbdNodeOptions(), TestContext.Current.CancellationToken);

    private async Task<string> CreateAsync(ImageFormat format)
    {
        string path = _rig.Folder.File("web.img");
        await Image.CreateAsync(
            path, new ImageCreateOptions { Format = format, SizeBytes = 1 << 20 }, TestContext.Current.CancellationToken);
        return path;
    }

    private async Task MountAsync(ImageFormat format, bool listenBeyond)
    {
        string path = await CreateAsync(format);
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        ListenRequest[] listeners = [new() { ListenUri = Socket }, new() { ListenUri = "nbd://0.0.0.0:0/web", AllowsInsecure = true }];
        await client.MountAsync(new MountRequest
        {
            Address = path,
            Name = "web",
            Format = format,
            Listeners = listenBeyond ? listeners : listeners[..1],
        });
    }

    private MountedDiskState ReadState() => Assert.Single(
        StateFormat.Current.Parse(File.ReadAllBytes(StateFile), out _, out _)!.Disks);

    // A killed host leaves the state of a host that runs. Here the image is as whole as after an orderly end.
    private async Task ServeAfterKillAsync(
        ImageFormat format, Guid boot, bool listenBeyond = false, bool hadJournal = false, bool losesJournal = false)
    {
        await MountAsync(format, listenBeyond);
        await _rig.StopAsync();
        if (losesJournal)
        {
            File.Delete(JournalPath);
        }

        LeaveAsKilled(disk => disk with { ServedInBoot = boot, UnjournaledInBoot = hadJournal ? null : boot });
        await _rig.StartAsync();
    }

    private void LeaveAsKilled(Func<MountedDiskState, MountedDiskState> change)
    {
        using HostState state = HostState.Open(_rig.StatePath);
        MountedDiskState disk = Assert.Single(state.Disks);
        Assert.Null(disk.ServedInBoot);
        state.Put(change(disk) with { Image = disk.Image! with { IsClosed = false } });
    }
}
