// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Hosting.Host;

namespace Fleece.Hosting.Tests.Host;

/// <summary>Clients that ask for too much, and clients that go away.</summary>
public sealed class FloodTests : IAsyncDisposable
{
    private readonly HostRig _rig = new();

    [Fact]
    public async Task A_thousand_connections_of_one_user_leave_room_for_others()
    {
        ThreadUser.Need();
        await _rig.StartAsync(group: "54321");
        _rig.OpenTheFolder();
        List<Socket> flood = [];
        for (int number = 0; number < 1000; number++)
        {
            flood.Add(_rig.Connect());
        }

        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => _rig.ConnectAsync());
        TestClient member = _rig.Open(ThreadUser.Run(ThreadUser.Nobody, [54321], _rig.Connect));
        await member.HelloAsync();
        Assert.Equal(HostServer.MaximumConnectionsOfUser + 1, _rig.Host.Describe().ClientCount);
        flood.ForEach(socket => socket.Dispose());
        await HostRig.UntilAsync(() => _rig.Host.Describe().ClientCount == 1);

        await _rig.ConnectAsync();
        Assert.Contains(refused.Kind, (string[])[HostErrors.Overloaded, HostErrors.CallInterrupted]);
    }

    [Fact]
    public async Task A_connection_just_beyond_the_bound_hears_why_it_is_refused()
    {
        await _rig.StartAsync();
        List<Socket> others = [.. Enumerable.Range(0, HostServer.MaximumConnectionsOfUser).Select(_ => _rig.Connect())];
        await HostRig.UntilAsync(() => _rig.Host.Describe().ClientCount == others.Count);

        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => _rig.ConnectAsync());

        Assert.Equal(HostErrors.Overloaded, refused.Kind);
        Assert.Contains($"{others.Count} connections", refused.Message, StringComparison.Ordinal);
        others.ForEach(socket => socket.Dispose());
    }

    [Fact]
    public async Task A_session_on_no_disk_is_refused()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();

        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => client.CallAsync<IReadOnlyList<SessionInfo>>(
            nameof(ISessionControl.StartSessionsAsync), new { request = new SessionRequest { Disks = [] } }));

        Assert.Equal(BlockErrors.InvalidArgument, refused.Kind);
    }

    [Fact]
    public async Task A_session_with_as_many_ranges_as_a_request_holds_begins_and_one_with_more_is_an_error_of_the_client()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        await client.MountAsync(await _rig.AddImageAsync("web"));

        await BeginAsync(40_000);
        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => BeginAsync(200_000));

        Assert.Equal(BlockErrors.OutOfRange, refused.Kind);
        Assert.Single(await client.ListDisksAsync());

        Task<SessionInfo> BeginAsync(int count) => client.CallAsync<SessionInfo>(nameof(IJobControl.BeginJobSessionAsync), new
        {
            request = new SessionRequest
            {
                Disks = [new DiskReference("web")],
                Ranges = [.. Enumerable.Range(0, count).Select(number => new BlockRange(number, 1))],
            },
        });
    }

    [Fact]
    public async Task A_client_that_asks_and_never_reads_the_answers_holds_up_no_other()
    {
        await _rig.StartAsync();
        TestClient deaf = _rig.Open(new DeafStream(_rig.Connect()));
        List<Task> calls = [EndOf(deaf.HelloAsync())];
        calls.AddRange(Enumerable.Range(0, 5000).Select(_ => EndOf(deaf.ListDisksAsync())));

        TestClient other = await _rig.ConnectAsync();
        await other.MountAsync(await _rig.AddImageAsync("web"));
        for (int number = 0; number < 100; number++)
        {
            Assert.Single(await other.ListDisksAsync());
        }

        await deaf.DisposeAsync();
        await Task.WhenAll(calls);
    }

    [Fact]
    public async Task A_client_that_goes_away_in_the_middle_of_a_mount_leaves_it_done_or_not_done()
    {
        await _rig.StartAsync();
        for (int number = 0; number < 20; number++)
        {
            string path = await _rig.AddImageAsync($"disk{number}");
            TestClient client = await _rig.ConnectAsync();
            Task mounting = client.MountAsync(path);
            await client.DisposeAsync();
            await EndOf(mounting);
        }

        await HostRig.UntilAsync(() => _rig.Host.Describe().ClientCount == 0);

        // A mount whose client has gone may run on.
        await _rig.Host.Parts.Requests.EndAsync(Timeout.InfiniteTimeSpan);
        string[] mounted = [.. _rig.Mounted.All.Select(disk => disk.Name)];
        await _rig.StartAsync();

        Assert.Equal(mounted, _rig.Mounted.All.Select(disk => disk.Name));
    }

    [Fact]
    public async Task Requests_that_come_while_the_host_ends_are_refused()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        string path = await _rig.AddImageAsync("web");

        Task ending = _rig.Host.StopAsync();
        BlockException refused = await Assert.ThrowsAsync<BlockException>(async () =>
        {
            while (true)
            {
                await client.ListDisksAsync();
            }
        });
        await ending;

        Assert.Contains(refused.Kind, (string[])[HostErrors.NotRunning, HostErrors.CallInterrupted]);
        Assert.True(File.Exists(path));
        Assert.False(File.Exists(_rig.SocketPath));
    }

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    // However it ends.
    private static async Task EndOf(Task call) =>
        await call.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);

    // Hears nothing of what is sent to it.
    private sealed class DeafStream(Socket socket) : NetworkStream(socket, ownsSocket: true)
    {
        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken);
            return 0;
        }
    }
}
