// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Hosting.Host;
using Fleece.Hosting.Records;
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
        _rig.Time.Advance(UnservedDisks.SlowAttempt);
        await tried;

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
        Directory.Move(_rig.StatePath, _rig.StatePath + ".away");

        BlockException failed = await Assert.ThrowsAsync<BlockException>(() => client.MountAsync(path));

        Assert.Contains("was not mounted", failed.Message, StringComparison.Ordinal);
        Assert.Empty(_rig.Mounted.All);
        Directory.Move(_rig.StatePath + ".away", _rig.StatePath);
        await client.MountAsync(path);
    }

    [Fact]
    public async Task Two_hosts_on_one_state_directory_are_refused()
    {
        await _rig.StartAsync();

        BlockException refused = Assert.Throws<BlockException>(() => HostProcess.Start(new HostOptions
        {
            StatePath = _rig.StatePath,
            SocketPath = _rig.Folder.File("other.sock"),
            Log = TextWriter.Null,
        }));

        Assert.Equal(HostErrors.AlreadyRunning, refused.Kind);
        Assert.False(File.Exists(_rig.Folder.File("other.sock")));
    }

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

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
