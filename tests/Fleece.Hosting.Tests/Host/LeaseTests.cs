// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Nbd;

namespace Fleece.Hosting.Tests.Host;

/// <summary>What ends when a client has gone, and when.</summary>
public sealed class LeaseTests : IAsyncDisposable
{
    private static readonly TimeSpan Almost = HostProtocol.LeaseTime - TimeSpan.FromMilliseconds(1);

    private readonly HostRig _rig = new();

    [Fact]
    public async Task A_jobs_session_ends_without_success_when_its_client_has_been_gone_for_a_minute()
    {
        TestClient client = await StartAsync();
        await client.BeginJobSessionAsync("web", nextBitmap: "nightly");
        Session session = Assert.Single(_rig.Mounted.Sessions);
        await LeaveAsync(client);

        _rig.Time.Advance(Almost);
        Assert.False(session.Ended.IsCancellationRequested);
        _rig.Time.Advance(TimeSpan.FromMilliseconds(1));
        await HostRig.UntilAsync(() => session.Ended.IsCancellationRequested);
        await HostRig.UntilAsync(() => _rig.Log.ToString().Contains("ended without success: session web/web", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_session_goes_on_when_a_connection_brings_the_token_back_in_time()
    {
        TestClient client = await StartAsync();
        await client.BeginJobSessionAsync("web");
        await LeaveAsync(client);
        _rig.Time.Advance(Almost);

        TestClient again = _rig.Open(_rig.Connect());
        HostWelcome welcome = await again.HelloAsync(client.Token);
        _rig.Time.Advance(HostProtocol.LeaseTime);

        Assert.True(welcome.IsResumed);
        Assert.Equal(client.Token, welcome.LeaseToken);
        Assert.Single(_rig.Mounted.Sessions);
    }

    [Fact]
    public async Task The_session_goes_on_while_another_connection_uses_the_lease()
    {
        TestClient client = await StartAsync();
        TestClient second = await _rig.ConnectAsync(client.Token);
        await client.BeginJobSessionAsync("web");
        await LeaveAsync(client);

        _rig.Time.Advance(HostProtocol.LeaseTime * 2);

        Assert.Single(await second.CallAsync<IReadOnlyList<SessionInfo>>(nameof(ISessionControl.ListSessionsAsync), new { }));
    }

    [Fact]
    public async Task A_token_that_is_late_begins_a_new_lease()
    {
        TestClient client = await StartAsync();
        await client.BeginJobSessionAsync("web");
        await LeaveAsync(client);
        _rig.Time.Advance(HostProtocol.LeaseTime);

        HostWelcome welcome = await _rig.Open(_rig.Connect()).HelloAsync(client.Token);

        Assert.False(welcome.IsResumed);
        Assert.NotEqual(client.Token, welcome.LeaseToken);
    }

    [Fact]
    public async Task Another_user_cannot_take_up_a_lease()
    {
        ThreadUser.Need();
        TestClient client = await StartAsync(group: "54321");
        await client.BeginJobSessionAsync("web");
        _rig.OpenTheFolder();

        TestClient member = _rig.Open(ThreadUser.Run(ThreadUser.Nobody, [54321], _rig.Connect));
        HostWelcome welcome = await member.HelloAsync(client.Token);

        Assert.False(welcome.IsResumed);
    }

    [Fact]
    public async Task A_session_that_was_handed_over_goes_on()
    {
        TestClient client = await StartAsync();
        await client.CallAsync<IReadOnlyList<SessionInfo>>(
            nameof(ISessionControl.StartSessionsAsync), new { request = new SessionRequest { Disks = [new DiskReference("web")] } });
        await LeaveAsync(client);

        _rig.Time.Advance(HostProtocol.LeaseTime * 2);

        Assert.Single(_rig.Mounted.Sessions);
        Assert.False(_rig.Mounted.Sessions[0].Ended.IsCancellationRequested);
    }

    [Fact]
    public async Task A_job_that_ends_its_session_with_success_keeps_it_from_the_lease()
    {
        TestClient client = await StartAsync();
        SessionInfo session = await client.BeginJobSessionAsync("web");

        bool counts = await client.CallAsync<bool>(
            nameof(IJobControl.EndJobSessionAsync),
            new { session = new SessionReference(session.Id, session.InstantId), isSuccess = true });
        await LeaveAsync(client);
        _rig.Time.Advance(HostProtocol.LeaseTime);
        await _rig.StopAsync();

        Assert.True(counts);
        Assert.DoesNotContain("ended without success", _rig.Log.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_private_socket_serves_the_disk_and_goes_with_the_lease()
    {
        TestClient client = await StartAsync();
        DiskChannel channel = await client.CallAsync<DiskChannel>(
            nameof(IHostControl.OpenDiskChannelAsync), new { disk = new DiskReference("web") });
        string socket = NbdUri.Parse(channel.Uri).SocketPath!;
        Assert.True(File.Exists(socket));
        Assert.Equal(0x1E8, HostRig.ModeOf(Path.GetDirectoryName(socket)!));
        await LeaveAsync(client);

        _rig.Time.Advance(HostProtocol.LeaseTime);

        await HostRig.UntilAsync(() => !File.Exists(socket));
    }

    [Fact]
    public async Task A_snapshot_channel_names_the_instant_and_the_disk()
    {
        TestClient client = await StartAsync();
        SessionInfo session = await client.BeginJobSessionAsync("web");

        SnapshotChannel channel = await client.CallAsync<SnapshotChannel>(
            nameof(IHostControl.OpenSnapshotChannelAsync), new { session = new SessionReference("web"), discards = true });

        Assert.Equal($"snapshot/{session.InstantId}", NbdUri.Parse(channel.Uri).ExportName);
        Assert.Equal("web/web", channel.Id);
        Assert.Equal(_rig.Folder.File("web.raw"), channel.Address);
    }

    [Theory]
    [InlineData("two")]
    [InlineData("one")]
    public async Task Two_jobs_on_one_bitmap_exclude_each_other_and_the_error_names_the_first(string sessionOfTheSecond)
    {
        TestClient first = await StartAsync();
        await first.CallAsync<CreatedBitmap>(
            nameof(IBitmapControl.CreateBitmapAsync),
            new { disk = new DiskReference("web"), name = "nightly", granularityBytes = 65536L, isEnabled = true });
        await first.BeginJobSessionAsync("web", bitmap: "nightly", name: "one");
        TestClient second = await _rig.ConnectAsync();

        BlockException busy = await Assert.ThrowsAsync<BlockException>(
            () => second.BeginJobSessionAsync("web", bitmap: "nightly", name: sessionOfTheSecond));

        Assert.Equal(DiskErrors.BitmapBusy, busy.Kind);
        string holder = $"user {SystemUsers.NameOf(SystemUsers.Current)}, process {Environment.ProcessId}";
        Assert.Contains(holder, busy.Message, StringComparison.Ordinal);
        Assert.Contains("60 seconds at most", busy.Message, StringComparison.Ordinal);
        Assert.Matches("which began [0-9]{4}-[0-9-]+ [0-9:]+Z", busy.Message);
        Assert.Single(_rig.Mounted.Sessions);
    }

    // Jobs name their sessions after their bitmaps.
    [Theory]
    [InlineData("nightly", DiskErrors.BitmapBusy)]
    [InlineData(null, DiskErrors.SessionNameInUse)]
    public async Task A_second_job_whose_session_has_the_same_name_is_told_of_the_first(string? bitmap, string kind)
    {
        TestClient first = await StartAsync();
        await first.CallAsync<CreatedBitmap>(
            nameof(IBitmapControl.CreateBitmapAsync),
            new { disk = new DiskReference("web"), name = "nightly", granularityBytes = 65536L, isEnabled = true });
        await first.BeginJobSessionAsync("web", bitmap: bitmap, name: "nightly");
        TestClient second = await _rig.ConnectAsync();

        BlockException busy = await Assert.ThrowsAsync<BlockException>(
            () => second.BeginJobSessionAsync("web", bitmap: bitmap, name: "nightly"));

        Assert.Equal(kind, busy.Kind);
        Assert.Contains($"process {Environment.ProcessId}", busy.Message, StringComparison.Ordinal);
        Assert.Contains("60 seconds at most", busy.Message, StringComparison.Ordinal);
        Assert.Contains("Stop-FleeceSession web/nightly", busy.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_end_of_the_host_ends_jobs_sessions_without_success()
    {
        TestClient client = await StartAsync();
        await client.BeginJobSessionAsync("web");

        await _rig.StopAsync();

        Assert.Contains("ended without success: session web/web", _rig.Log.ToString(), StringComparison.Ordinal);
        await client.Ended;
    }

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    private async Task<TestClient> StartAsync(string? group = null)
    {
        await _rig.StartAsync(group);
        TestClient client = await _rig.ConnectAsync();
        await client.MountAsync(await _rig.AddImageAsync("web"));
        return client;
    }

    // The host has seen the end when its clock runs for the lease.
    private async Task LeaveAsync(TestClient client)
    {
        int before = _rig.Host.Describe().ClientCount;
        await client.DisposeAsync();
        await HostRig.UntilAsync(() => _rig.Host.Describe().ClientCount == before - 1);
    }
}
