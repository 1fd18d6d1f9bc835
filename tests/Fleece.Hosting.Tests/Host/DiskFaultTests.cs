// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Tests.Host;

/// <summary>What a host's log and audit trail say of sessions that break, disks that fail, and guests' writes that are refused.</summary>
public sealed class DiskFaultTests : IAsyncDisposable
{
    private const int G = PointInTime.DefaultGranuleSizeBytes;

    private readonly HostRig _rig = new();
    private readonly byte[] _page = new byte[G];
    private TestClient? _client;

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    [Fact]
    public async Task A_session_whose_temp_is_full_is_told_once_with_its_cause()
    {
        Disk disk = await MountAsync();
        await StartSessionAsync(disk);
        for (int granule = 0; granule < 5; granule++)
        {
            await disk.Device.WriteAsync(granule * G, _page);
        }

        await _rig.StopAsync();

        string line = Assert.Single(LinesWith("session web/nightly broke"));
        Assert.Contains($"{G}", line, StringComparison.Ordinal);
        JsonElement entry = Assert.Single(Entries("session.break"));
        Assert.Equal("failed", entry.GetProperty("outcome").GetString());
        Assert.Equal("web/nightly", entry.GetProperty("targets")[0].GetString());
        Assert.Equal(BlockErrors.TempLimitReached, entry.GetProperty("errorKind").GetString());
        Assert.Equal(Environment.ProcessId, entry.GetProperty("processId").GetInt32());
    }

    [Fact]
    public async Task A_disk_that_fails_is_told_once_and_so_is_each_of_its_sessions()
    {
        Disk disk = await MountAsync();
        await StartSessionAsync(disk);

        disk.Storage.Condition.Fail(new BlockException(BlockErrors.IoFailed, "The flush failed."));
        disk.Storage.Condition.Fail(new BlockException(BlockErrors.IoFailed, "The flush failed again."));
        await _rig.StopAsync();

        Assert.EndsWith("disk web failed: The flush failed.", Assert.Single(LinesWith("disk web failed")), StringComparison.Ordinal);
        Assert.Single(LinesWith("session web/nightly broke"));
        Assert.Equal("The flush failed.", Assert.Single(Entries("disk.fail")).GetProperty("error").GetString());
        Assert.Single(Entries("session.break"));
    }

    [Fact]
    public async Task Writes_that_are_refused_for_a_session_are_told_once()
    {
        Disk disk = await MountAsync();
        await StartSessionAsync(disk, CopyErrorPolicy.BreakGuestWrite);
        await disk.Device.WriteAsync(0, _page);
        for (int granule = 1; granule < 4; granule++)
        {
            await Assert.ThrowsAsync<BlockException>(async () => await disk.Device.WriteAsync(granule * G, _page));
        }

        await _rig.StopAsync();

        string line = Assert.Single(LinesWith("session web/nightly has writes of guests refused"));
        Assert.Contains("BreakGuestWrite", line, StringComparison.Ordinal);
        Assert.Empty(Entries("session.break"));
    }

    [Fact]
    public async Task A_read_of_a_broken_session_is_no_success_in_the_trail()
    {
        await BreakSessionAsync();

        await Client.CallAsync<SnapshotChannel>(
            nameof(IHostControl.OpenSnapshotChannelAsync), new { session = new SessionReference("nightly"), discards = false });
        await _rig.StopAsync();

        JsonElement entry = Assert.Single(Entries("snapshot.read"));
        Assert.Equal("refused", entry.GetProperty("outcome").GetString());
        Assert.Equal(BlockErrors.Broken, entry.GetProperty("errorKind").GetString());
        Assert.Single(LinesWith("read snapshot nightly: refused, because the session is broken"));
    }

    [Fact]
    public async Task The_stop_of_a_broken_session_with_success_says_that_it_had_none()
    {
        await BreakSessionAsync();

        await Client.CallAsync<SessionInfo>(
            nameof(ISessionControl.StopSessionAsync), new { session = new SessionReference("nightly"), isSuccess = true });
        await _rig.StopAsync();

        JsonElement entry = Assert.Single(Entries("session.stop"));
        Assert.Equal("done", entry.GetProperty("outcome").GetString());
        Assert.Equal(BlockErrors.Broken, entry.GetProperty("errorKind").GetString());
        Assert.Single(LinesWith("stop session nightly with success: done, without success, because the session was broken"));
    }

    [Theory]
    [InlineData(true, "open disk web for writing")]
    [InlineData(false, "open disk web for reading")]
    [InlineData(null, "open disk web")]
    public async Task The_opening_of_a_disk_says_what_for(bool? isToWrite, string text)
    {
        await MountAsync();

        await Client.CallAsync<DiskChannel>(
            nameof(IHostControl.OpenDiskChannelAsync), new { disk = new DiskReference("web") { IsToWrite = isToWrite } });
        await _rig.StopAsync();

        Assert.Equal(text, Assert.Single(Entries("disk.open")).GetProperty("text").GetString());
    }

    private TestClient Client => _client ?? throw new InvalidOperationException("No disk has been mounted.");

    private async Task<Disk> MountAsync()
    {
        await _rig.StartAsync();
        _client = await _rig.ConnectAsync();
        await _client.MountAsync(await _rig.AddImageAsync("web"));
        return Assert.Single(_rig.Mounted.All);
    }

    private static async Task StartSessionAsync(Disk disk, CopyErrorPolicy policy = CopyErrorPolicy.BreakSnapshot)
    {
        // Zeros take no room, so the disk has something else.
        byte[] content = new byte[8 * G];
        content.AsSpan().Fill(1);
        await disk.Device.WriteAsync(0, content);
        await Session.StartAsync(
            [disk], new SessionOptions { Name = "nightly", OnCopyError = policy, Limits = new CopyLimits { TempBytes = G } });
    }

    private async Task BreakSessionAsync()
    {
        Disk disk = await MountAsync();
        await StartSessionAsync(disk);
        await disk.Device.WriteAsync(0, new byte[4 * G]);
        Assert.Equal(SessionState.Broken, disk.Sessions[0].State);
    }

    private IEnumerable<string> LinesWith(string text) =>
        _rig.Log.ToString().Split('\n').Where(line => line.Contains(text, StringComparison.Ordinal));

    private IEnumerable<JsonElement> Entries(string action) =>
        File.ReadAllLines(Path.Combine(_rig.StatePath, AuditTrail.FileName))
            .Select(line => JsonDocument.Parse(line).RootElement)
            .Where(entry => entry.GetProperty("action").GetString() == action);
}
