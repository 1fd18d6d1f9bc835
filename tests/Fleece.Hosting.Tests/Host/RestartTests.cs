// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Hosting.Host;
using Fleece.Hosting.Records;
using Fleece.Hosting.Systemd;
using Fleece.Nbd;

namespace Fleece.Hosting.Tests.Host;

/// <summary>What a host serves after a restart.</summary>
public sealed class RestartTests : IAsyncDisposable
{
    private readonly HostRig _rig = new();

    [Fact]
    public async Task Disks_come_back_with_their_names_options_and_listeners()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        string socket = $"nbd+unix:///?socket={_rig.Folder.File("web.sock")}";
        await client.MountAsync(new MountRequest
        {
            Address = await _rig.AddImageAsync("a"),
            Name = "web",
            IsReadOnly = true,
            Listeners = [new ListenRequest { ListenUri = socket }, new ListenRequest { ListenUri = "nbd://localhost:0/x" }],
        });
        IReadOnlyList<NbdUri> before = [.. _rig.Mounted.Exports.All.Select(export => export.Uri)];

        await _rig.StartAsync();

        Disk disk = Assert.Single(_rig.Mounted.All);
        Assert.Equal("web", disk.Name);
        Assert.True(disk.IsReadOnly);
        Assert.Equal(before, _rig.Mounted.Exports.All.Select(export => export.Uri));
        Assert.DoesNotContain("while the host was down", _rig.Log.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_was_published_and_taken_away_later_is_remembered_too()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        await client.MountAsync(await _rig.AddImageAsync("web"));
        await client.MountAsync(await _rig.AddImageAsync("db"));
        ExportInfo kept = await PublishAsync(client, "web", "kept");
        ExportInfo taken = await PublishAsync(client, "web", "taken");
        await client.CallAsync<ExportInfo>(nameof(IExportControl.UnpublishAsync), new
        {
            export = new ExportReference(taken.Disk, taken.Name, taken.ExportId),
            isForced = false,
        });
        await client.DismountAsync("db");

        await _rig.StartAsync();

        Assert.Equal(["web"], _rig.Mounted.All.Select(disk => disk.Name));
        Assert.Equal([kept.Uri], _rig.Mounted.Exports.All.Select(export => export.Uri));
    }

    [Fact]
    public async Task A_disk_that_fails_keeps_no_other_down_is_reported_and_served_when_it_comes_back()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        string lost = await _rig.AddImageAsync("lost");
        await client.MountAsync(lost);
        await client.MountAsync(await _rig.AddImageAsync("web"));
        await _rig.StopAsync();
        File.Move(lost, lost + ".away");

        await _rig.StartAsync();
        client = await _rig.ConnectAsync();
        HostInfo info = await client.CallAsync<HostInfo>(nameof(IHostControl.GetHostInfoAsync), new { });

        Assert.Equal(["web"], (await client.ListDisksAsync()).Select(disk => disk.Name));
        Assert.Contains("'lost'", Assert.Single(info.Problems), StringComparison.Ordinal);
        BlockException taken = await Assert.ThrowsAsync<BlockException>(
            () => client.MountAsync(new MountRequest { Address = lost + ".away", Name = "lost" }));
        Assert.Equal(DiskErrors.DiskNameInUse, taken.Kind);

        File.Move(lost + ".away", lost);
        await HostRig.UntilAsync(() =>
        {
            _rig.Time.Advance(TimeSpan.FromSeconds(1));
            return _rig.Mounted.All.Count == 2;
        });
        await HostRig.UntilAsync(() => _rig.Host.Describe().Problems.Count == 0);
    }

    [Fact]
    public async Task A_disk_that_fails_can_be_forgotten()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        string lost = await _rig.AddImageAsync("lost");
        await client.MountAsync(lost);
        await _rig.StopAsync();
        File.Delete(lost);
        await _rig.StartAsync();
        client = await _rig.ConnectAsync();

        DiskInfo forgotten = await client.DismountAsync("lost");
        BlockException unknown = await Assert.ThrowsAsync<BlockException>(() => client.DismountAsync("lost"));
        await _rig.StartAsync();

        Assert.Equal(lost, forgotten.Path);
        Assert.Equal(DiskStatus.Failed, forgotten.OperationalStatus);
        Assert.Equal(DiskErrors.DiskUnknown, unknown.Kind);
        Assert.Empty(_rig.Host.Describe().Problems);
    }

    [Fact]
    public async Task Delays_between_attempts_grow_to_a_minute()
    {
        DelayLog time = new();
        TaskCompletionSource enough = new();
        using UnservedDisks unserved = new(
            (_, _) =>
            {
                if (time.Delays.Count == 9)
                {
                    enough.TrySetResult();
                    return default;
                }

                throw new BlockException(BlockErrors.NotFound, "It is not there.");
            },
            _ => { },
            time);

        await unserved.Add([new Fleece.Hosting.State.MountedDiskState { Mount = new MountRequest { Address = "/x.raw", Name = "x" } }]);
        await enough.Task;

        Assert.Equal([1, 2, 4, 8, 16, 32, 60, 60, 60], time.Delays.Select(delay => (int)delay.TotalSeconds));
    }

    [Fact]
    public async Task A_disk_whose_storage_does_not_answer_keeps_the_host_from_being_ready_for_seconds_and_no_longer()
    {
        TaskCompletionSource answer = new();
        using UnservedDisks unserved = new((_, _) => new ValueTask(answer.Task), _ => { }, _rig.Time);

        Task tried = unserved.Add([new Fleece.Hosting.State.MountedDiskState { Mount = new MountRequest { Address = "/x.raw", Name = "x" } }]);
        await HostRig.UntilAsync(() => _rig.Time.ArmedTimers == 1);
        Assert.False(tried.IsCompleted);
        Assert.Equal(["x"], unserved.Untried);
        _rig.Time.Advance(UnservedDisks.SlowAttempt);
        await tried;

        Assert.Empty(unserved.Untried);
        Assert.Contains("still waits", Assert.Single(unserved.Problems), StringComparison.Ordinal);
        answer.SetResult();
        await HostRig.UntilAsync(() => unserved.Problems.Count == 0);
    }

    [Fact]
    public async Task A_mount_that_the_state_cannot_keep_is_undone()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        string path = await _rig.AddImageAsync("web");
        DirectoryInfo inTheWay = Directory.CreateDirectory(Path.Combine(_rig.StatePath, "state.json.partial"));

        BlockException failed = await Assert.ThrowsAsync<BlockException>(() => client.MountAsync(path));

        Assert.Contains("was not mounted", failed.Message, StringComparison.Ordinal);
        Assert.Empty(_rig.Mounted.All);
        inTheWay.Delete();
        await client.MountAsync(path);
    }

    [Fact]
    public async Task A_dismount_that_could_not_be_noted_is_a_problem_and_the_next_change_takes_it_along()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        await client.MountAsync(await _rig.AddImageAsync("ghost"));
        string other = await _rig.AddImageAsync("web");

        BlockException failed = await FailAsync(() => client.DismountAsync("ghost"));

        Assert.Empty(_rig.Mounted.All);
        Assert.Contains("'ghost' is dismounted", failed.Message, StringComparison.Ordinal);
        Assert.Contains("run Dismount-FleeceDisk ghost again", failed.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("nothing has changed", failed.Message, StringComparison.Ordinal);
        Assert.Contains("'ghost' is dismounted", Assert.Single(_rig.Host.Describe().Problems), StringComparison.Ordinal);

        await client.MountAsync(other);

        Assert.Empty(_rig.Host.Describe().Problems);
        await _rig.StartAsync();
        Assert.Equal(["web"], _rig.Mounted.All.Select(disk => disk.Name));
    }

    [Fact]
    public async Task A_second_dismount_notes_what_the_first_could_not()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        string path = await _rig.AddImageAsync("ghost");
        await client.MountAsync(path);
        await FailAsync(() => client.DismountAsync("ghost"));

        DiskInfo again = await client.DismountAsync("ghost");

        Assert.Equal(path, again.Path);
        Assert.Empty(_rig.Host.Describe().Problems);
        await Assert.ThrowsAsync<BlockException>(() => client.DismountAsync("ghost"));
        await _rig.StartAsync();
        Assert.Empty(_rig.Mounted.All);
    }

    [Fact]
    public async Task An_export_that_was_taken_away_and_not_noted_is_a_problem_and_can_be_taken_away_again()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        await client.MountAsync(await _rig.AddImageAsync("web"));
        ExportInfo taken = await PublishAsync(client, "web", "taken");
        Task<ExportInfo> UnpublishAsync() => client.CallAsync<ExportInfo>(nameof(IExportControl.UnpublishAsync), new
        {
            export = new ExportReference(taken.Disk, taken.Name, taken.ExportId),
            isForced = false,
        });

        await FailAsync(UnpublishAsync);
        Assert.Contains($"'{taken.Uri}' is taken away", Assert.Single(_rig.Host.Describe().Problems), StringComparison.Ordinal);
        Assert.Equal(taken.Uri, (await UnpublishAsync()).Uri);

        Assert.Empty(_rig.Host.Describe().Problems);
        await _rig.StartAsync();
        Assert.Empty(_rig.Mounted.Exports.All);
        Assert.Single(_rig.Mounted.All);
    }

    [Fact]
    public async Task A_folder_in_the_place_of_an_image_is_named_as_one_and_without_a_kind_of_the_code()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        string path = await _rig.AddImageAsync("web");
        await client.MountAsync(path);
        await _rig.StopAsync();
        File.Delete(path);
        Directory.CreateDirectory(path);

        await _rig.StartAsync();

        string problem = Assert.Single(_rig.Host.Describe().Problems);
        Assert.DoesNotContain("was moved", problem, StringComparison.Ordinal);
        Assert.DoesNotContain(BlockErrors.NotAFile, problem, StringComparison.Ordinal);
        Assert.DoesNotContain(BlockErrors.NotAFile, _rig.Log.ToString(), StringComparison.Ordinal);
        Assert.Contains("folder", problem, StringComparison.Ordinal);
    }

    [Fact]
    public void A_group_is_refused_for_a_host_that_its_members_would_not_trust()
    {
        ThreadUser.Need();

        BlockException refused = ThreadUser.Run(ThreadUser.Nobody, [], () => Assert.Throws<BlockException>(() =>
            HostProcess.Start(Options() with { SocketGroup = "54321" })));

        Assert.Equal(BlockErrors.InvalidArgument, refused.Kind);
        Assert.Contains("HostSocketForeign", refused.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_rig.StatePath));
    }

    [Fact]
    public void An_allowed_folder_that_is_missing_is_refused()
    {
        string missing = _rig.Folder.File("none");

        BlockException refused = Assert.Throws<BlockException>(
            () => HostProcess.Start(Options() with { AllowedFolders = [_rig.Folder.Path, missing] }));

        Assert.Equal(BlockErrors.InvalidArgument, refused.Kind);
        Assert.Contains(missing, refused.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_rig.StatePath));
    }

    // A file system that is not mounted yet keeps no disk of another one down.
    [Fact]
    public async Task A_service_starts_without_an_allowed_folder_and_says_so()
    {
        string missing = _rig.Folder.File("none");
        HostProcess host = HostProcess.Start(
            Options() with { AllowedFolders = [missing], Notifier = new ServiceNotifier(_rig.Folder.File("notify")) });
        await host.Ready;
        await host.StopAsync();

        Assert.Contains($"the folder '{missing}'", _rig.Log.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Two_hosts_on_one_state_directory_are_refused()
    {
        await _rig.StartAsync();

        BlockException refused = Assert.Throws<BlockException>(() => HostProcess.Start(new HostOptions
        {
            StatePath = _rig.StatePath,
            SocketPath = _rig.Folder.File("other.sock"),
            Guard = HostRig.NoGuard,
            Log = TextWriter.Null,
        }));

        Assert.Equal(HostErrors.AlreadyRunning, refused.Kind);
        Assert.False(File.Exists(_rig.Folder.File("other.sock")));
    }

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    private HostOptions Options() => new()
    {
        StatePath = _rig.StatePath,
        SocketPath = _rig.SocketPath,
        Guard = HostRig.NoGuard,
        Log = _rig.Log,
    };

    // The state directory is away while the request runs.
    private async Task<BlockException> FailAsync(Func<Task> request)
    {
        Directory.Move(_rig.StatePath, _rig.StatePath + ".away");
        BlockException failed = await Assert.ThrowsAsync<BlockException>(request);
        Directory.Move(_rig.StatePath + ".away", _rig.StatePath);
        return failed;
    }

    private Task<ExportInfo> PublishAsync(TestClient client, string disk, string socket) => client.CallAsync<ExportInfo>(
        nameof(IExportControl.PublishAsync),
        new
        {
            disk = new DiskReference(disk),
            request = new ListenRequest { ListenUri = $"nbd+unix:///?socket={_rig.Folder.File(socket)}" },
        });

    // Notes each delay between attempts, and lets it be over at once. The watch over a slow attempt never goes off.
    private sealed class DelayLog : TimeProvider
    {
        public ConcurrentQueue<TimeSpan> Delays { get; } = [];

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            if (dueTime == UnservedDisks.SlowAttempt)
            {
                return System.CreateTimer(callback, state, Timeout.InfiniteTimeSpan, period);
            }

            Delays.Enqueue(dueTime);
            return System.CreateTimer(callback, state, TimeSpan.Zero, period);
        }
    }
}
