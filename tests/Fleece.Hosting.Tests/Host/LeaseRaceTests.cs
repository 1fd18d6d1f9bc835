// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Control;
using Fleece.Hosting.Host;
using Fleece.Nbd;
using Fleece.TestKit;
using HostPeer = Fleece.Hosting.Host.Peer;

namespace Fleece.Hosting.Tests.Host;

/// <summary>Connections that end while their requests run: nothing that they begin outlives its lease.</summary>
public sealed class LeaseRaceTests : IAsyncDisposable
{
    private static readonly HostPeer Peer = new(SystemUsers.Current, Environment.ProcessId, []);

    private readonly HostRig _rig = new();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private HostParts Parts => _rig.Host.Parts;

    private int PrivateSocketCount => Directory.GetFiles(_rig.SocketPath + ".private").Length;

    [Fact]
    public async Task A_Hello_that_is_answered_after_its_connection_has_ended_keeps_no_lease()
    {
        (HostConnection first, string token) = await StartAsync();
        await BeginAsync(first, "job");
        HostConnection late = new(Parts, Peer, refusal: null);
        await late.EndAsync();

        await FailsAsync(BlockErrors.Stopped, () => HelloAsync(late, token));
        await first.EndAsync();
        _rig.Time.Advance(HostProtocol.LeaseTime);

        await HostRig.UntilAsync(() => _rig.Mounted.Sessions.Count == 0 && Parts.Leases.Count == 0);
    }

    [Fact]
    public async Task A_session_that_begins_after_its_connection_has_ended_ends_at_once()
    {
        (HostConnection connection, _) = await StartAsync();
        await connection.EndAsync();

        await FailsAsync(BlockErrors.Stopped, () => BeginAsync(connection, "job"));

        Assert.Empty(_rig.Mounted.Sessions);
        Assert.Equal(0, Parts.Leases.Count);
    }

    [Fact]
    public async Task A_session_that_begins_while_its_lease_waits_ends_with_the_lease()
    {
        (HostConnection connection, _) = await StartAsync();
        await BeginAsync(connection, "first");
        await connection.EndAsync();

        await BeginAsync(connection, "second");
        Assert.Equal(2, _rig.Mounted.Sessions.Count);
        _rig.Time.Advance(HostProtocol.LeaseTime);

        await HostRig.UntilAsync(() => _rig.Mounted.Sessions.Count == 0);
    }

    [Fact]
    public async Task A_session_that_begins_after_the_lease_has_waited_ends_at_once()
    {
        (HostConnection connection, _) = await StartAsync();
        await BeginAsync(connection, "first");
        await connection.EndAsync();
        _rig.Time.Advance(HostProtocol.LeaseTime);

        await FailsAsync(BlockErrors.Stopped, () => BeginAsync(connection, "second"));

        await HostRig.UntilAsync(() => _rig.Mounted.Sessions.Count == 0);
    }

    [Fact]
    public async Task A_private_socket_is_not_opened_after_the_connection_has_ended()
    {
        (HostConnection connection, _) = await StartAsync();
        await connection.EndAsync();

        await FailsAsync(BlockErrors.Stopped, () => OpenAsync(connection));

        Assert.Equal(0, PrivateSocketCount);
    }

    [Fact]
    public async Task Each_time_that_a_lease_waits_it_waits_as_long()
    {
        (HostConnection first, string token) = await StartAsync();
        await BeginAsync(first, "job");
        await first.EndAsync();
        _rig.Time.Advance(HostProtocol.LeaseTime / 2);
        HostConnection second = new(Parts, Peer, refusal: null);
        Assert.True((await HelloAsync(second, token)).IsResumed);
        await second.EndAsync();

        _rig.Time.Advance(HostProtocol.LeaseTime * 0.9);
        Assert.Single(_rig.Mounted.Sessions);
        _rig.Time.Advance(HostProtocol.LeaseTime * 0.1);

        await HostRig.UntilAsync(() => _rig.Mounted.Sessions.Count == 0);
    }

    [Fact]
    public void A_wait_that_is_over_ends_no_later_wait()
    {
        Lease lease = new("token", Peer, DateTimeOffset.UnixEpoch);
        lease.UsePrivate(() => new Nothing());
        int first = 0;
        int second = 0;
        lease.Leave(wait => Timer(first = wait));
        Assert.True(lease.TryTake());
        Assert.False(lease.TryEndWait(first));
        lease.Leave(wait => Timer(second = wait));

        Assert.False(lease.TryEndWait(first));
        Assert.Equal(LeaseState.Waiting, lease.State);
        Assert.True(lease.TryEndWait(second));
        Assert.False(lease.TryTake());

        ITimer Timer(int wait) =>
            _rig.Time.CreateTimer(_ => Assert.Fail($"{wait}"), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    [Fact]
    public async Task A_host_that_ends_gives_no_more_leases()
    {
        await StartAsync();
        await Parts.Leases.EndAllAsync();

        await FailsAsync(HostErrors.NotRunning, () => HelloAsync(new HostConnection(Parts, Peer, refusal: null), null));

        Assert.Equal(0, Parts.Leases.Count);
    }

    [Fact]
    public async Task Clients_that_open_a_channel_and_go_leave_a_bounded_number_of_sockets_and_the_oldest_end_first()
    {
        (HostConnection connection, _) = await StartAsync();
        string oldest = NbdUri.Parse((await OpenAsync(connection)).Uri).SocketPath!;
        await connection.EndAsync();
        for (int more = 1; more < Leases.MaximumWaitingWithSockets; more++)
        {
            await LeaveWithSocketAsync();
        }

        Assert.True(File.Exists(oldest));
        await LeaveWithSocketAsync();

        Assert.False(File.Exists(oldest));
        Assert.Equal(Leases.MaximumWaitingWithSockets, PrivateSocketCount);
        Assert.Equal(Leases.MaximumWaitingWithSockets, Parts.Leases.Count);
    }

    [Fact]
    public async Task Clients_with_a_channel_alone_end_no_lease_with_a_session()
    {
        (HostConnection connection, _) = await StartAsync();
        await BeginAsync(connection, "job");
        await connection.EndAsync();

        for (int more = 0; more < Leases.MaximumWaitingWithSockets + 2; more++)
        {
            await LeaveWithSocketAsync();
        }

        Assert.Single(_rig.Mounted.Sessions);
    }

    [Fact]
    public async Task Clients_that_go_at_any_moment_leave_nothing_when_their_leases_are_over()
    {
        Seeds seeds = Seeds.FromEnvironment();
        (HostConnection connection, _) = await StartAsync();
        await connection.EndAsync();

        Seeds[] forks = [.. Enumerable.Range(0, 4).Select(_ => seeds.Fork())];
        await Task.WhenAll(forks.Select((fork, number) => Task.Run(() => ComeAndGoAsync(fork, number), Stop)));
        await HostRig.UntilAsync(() => _rig.Host.Describe().ClientCount == 0);
        _rig.Time.Advance(HostProtocol.LeaseTime);

        await HostRig.UntilAsync(() => Parts.Leases.Count == 0 && _rig.Mounted.Sessions.Count == 0 && PrivateSocketCount == 0);
        Assert.Equal(0, _rig.Time.ArmedTimers);
    }

    [Fact]
    public async Task A_request_that_its_client_cancels_is_logged_as_cancelled()
    {
        await StartAsync();
        ConnectedClient client = new(Peer, Parts.Requests, Parts.Log, Parts.Trail);
        client.TryWelcome(Parts.Leases.Take(Peer, null, out _), HostProtocol.Version);

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            async () => await client.ChangeAsync<int>(
                new AuditedAction("disk.mount", "mount x"), (_, _) => throw new TaskCanceledException(), Stop));

        await HostRig.UntilAsync(() => _rig.Log.ToString().Contains("mount x: cancelled", StringComparison.Ordinal));
    }

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    private static async Task FailsAsync(string kind, Func<Task> request) =>
        Assert.Equal(kind, (await Assert.ThrowsAsync<BlockException>(request)).Kind);

    private static async Task<HostWelcome> HelloAsync(HostConnection connection, string? token) => await connection.HelloAsync(
        new ClientHello(HostProtocol.Version, HostProtocol.Version, "9.9.9", Environment.ProcessId, token), Stop);

    private static async Task<SessionInfo> BeginAsync(HostConnection connection, string name) =>
        await ((IJobControl)connection.Targets().Single(target => target.Contract == typeof(IJobControl)).Target)
            .BeginJobSessionAsync(new SessionRequest { Disks = [new DiskReference("web")], Name = name }, Stop);

    private static async Task<DiskChannel> OpenAsync(HostConnection connection) =>
        await connection.OpenDiskChannelAsync(new DiskReference("web"), Stop);

    private async Task<(HostConnection Connection, string Token)> StartAsync()
    {
        await _rig.StartAsync();
        await _rig.Host.Owner.Disks.MountAsync(new MountRequest { Address = await _rig.AddImageAsync("web") }, Stop);
        HostConnection connection = new(Parts, Peer, refusal: null);
        return (connection, (await HelloAsync(connection, null)).LeaseToken);
    }

    private async Task LeaveWithSocketAsync()
    {
        HostConnection connection = new(Parts, Peer, refusal: null);
        await HelloAsync(connection, null);
        await OpenAsync(connection);
        await connection.EndAsync();
    }

    private async Task ComeAndGoAsync(Seeds seeds, int number)
    {
        string? token = null;
        for (int round = 0; round < 40; round++)
        {
            HostConnection connection = new(Parts, Peer, refusal: null);
            string name = $"{number}-{round}";
            string? resumed = seeds.NextBits() % 2 == 0 ? token : null;
            bool begins = seeds.NextBits() % 2 == 0;
            Task request = Task.Run(
                async () =>
                {
                    token = (await HelloAsync(connection, resumed)).LeaseToken;
                    await (begins ? BeginAsync(connection, name) : (Task)OpenAsync(connection));
                },
                Stop);
            for (ulong turns = seeds.NextBits() % 200; turns > 0; turns--)
            {
                await Task.Yield();
            }

            await connection.EndAsync();
            await request.ContinueWith(_ => { }, TaskScheduler.Default);
        }
    }

    private sealed class Nothing : IAsyncDisposable
    {
        public ValueTask DisposeAsync() => default;
    }
}
