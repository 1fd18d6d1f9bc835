// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Qemu;
using Fleece.Qemu.Records;

namespace Fleece.Hosting.Tests.Host;

/// <summary>Requests about guests: where their sockets may lie, and what the host keeps of them. No QEMU runs here.</summary>
public sealed class GuestTests : IAsyncDisposable
{
    private readonly HostRig _rig = new();

    [Fact]
    public async Task Sockets_of_guests_and_agents_lie_in_allowed_folders_or_beside_the_control_socket()
    {
        Directory.CreateDirectory(_rig.Folder.File("vm"));
        await _rig.StartAsync(null, _rig.Folder.File("vm"));
        TestClient client = await _rig.ConnectAsync();
        string outside = _rig.Folder.File("qmp.sock");
        string inside = _rig.Folder.File("vm/qmp.sock");

        await FailsAsync(HostErrors.PathRefused, () => ListAsync(client, outside));
        await FailsAsync(HostErrors.PathRefused, () => ListAsync(client, "qmp.sock"));
        await FailsAsync(HostErrors.PathRefused, () => StartAsync(client, outside));
        await FailsAsync(HostErrors.PathRefused, () => StartAsync(client, inside, agent: outside));
        await FailsAsync(HostErrors.PathRefused, () => StartAsync(client, inside, server: $"nbd+unix:///?socket={outside}"));
        await FailsAsync(HostErrors.PathRefused, () => client.CallAsync<FleeceableDisk>(
            nameof(IJobControl.DescribeDiskAsync), new { disk = new DiskReference("virtio0") { QmpSocketPath = outside } }));
        await FailsAsync(HostErrors.PathRefused, () => client.CallAsync<IReadOnlyList<string>>(
            nameof(IGuestControl.CleanUpGuestAsync), new { qmpSocketPath = outside, isForced = true }));
        await FailsAsync(QemuErrors.QemuNotRunning, () => ListAsync(client, inside));
        await FailsAsync(QemuErrors.QemuNotRunning, () => ListAsync(client, _rig.Folder.File("run/qmp.sock")));
    }

    [Fact]
    public async Task A_guest_is_in_the_state_before_its_session_starts_and_forgotten_when_its_QEMU_has_ended()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        string socket = _rig.Folder.File("run/qmp.sock");

        await FailsAsync(QemuErrors.QemuNotRunning, () => StartAsync(client, socket));
        Assert.Contains(socket, await File.ReadAllTextAsync(Path.Combine(_rig.StatePath, "state.json")), StringComparison.Ordinal);

        await _rig.StartAsync();
        await HostRig.UntilAsync(() =>
            !File.ReadAllText(Path.Combine(_rig.StatePath, "state.json")).Contains(socket, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Disks_of_a_guest_and_of_the_host_have_no_common_instant()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        DiskReference guests = new("virtio0") { QmpSocketPath = _rig.Folder.File("run/qmp.sock") };
        await client.MountAsync(await _rig.AddImageAsync("web"));

        await FailsAsync(BlockErrors.InvalidArgument, () => client.CallAsync<IReadOnlyList<SessionInfo>>(
            nameof(ISessionControl.StartSessionsAsync),
            new { request = new SessionRequest { Disks = [guests, new DiskReference("web")] } }));
    }

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    private static Task<IReadOnlyList<QemuDiskInfo>> ListAsync(TestClient client, string qmpSocketPath) =>
        client.CallAsync<IReadOnlyList<QemuDiskInfo>>(nameof(IGuestControl.ListGuestDisksAsync), new { qmpSocketPath });

    private static Task<IReadOnlyList<SessionInfo>> StartAsync(
        TestClient client, string qmpSocketPath, string? agent = null, string? server = null) =>
        client.CallAsync<IReadOnlyList<SessionInfo>>(
            nameof(ISessionControl.StartSessionsAsync),
            new
            {
                request = new SessionRequest
                {
                    Disks = [new DiskReference("virtio0") { QmpSocketPath = qmpSocketPath }],
                    Quiesce = agent is null ? null : new QuiesceOptions(agent, QuiesceOptions.DefaultTimeout),
                    NbdServerUri = server,
                },
            });

    private static async Task FailsAsync(string kind, Func<Task> request) =>
        Assert.Equal(kind, (await Assert.ThrowsAsync<BlockException>(request)).Kind);
}
