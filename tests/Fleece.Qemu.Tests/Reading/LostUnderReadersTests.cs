// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Nbd;
using Fleece.Nbd.Server;
using Fleece.Nbd.Server.Exports;
using Fleece.Qemu.Reading;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Reading;

/// <summary>A real QEMU loses the snapshot while it reads the disk for a reader, and the guest overwrites what is read: QEMU lets that write
/// pass, and the read returns it with success.</summary>
public sealed class LostUnderReadersTests : IExportDirectory, IAsyncDisposable
{
    private const int Cluster = SnapshotRig.ClusterBytes;
    private const int DiskBytes = 32 * Cluster;

    private static readonly BlockRange ReadRange = new(4 * Cluster, Cluster);

    // QEMU copies zeros without a read of the disk, which could wait behind the one that is held back.
    private static readonly BlockRange KeptRange = new(20 * Cluster, Cluster);

    private readonly TempFolder _folder = new();
    private readonly byte[] _content = Seeds.FromEnvironment().Bytes(DiskBytes);
    private readonly GatedNode _disk;
    private readonly BlockDevice _device;
    private readonly NbdServer _server;

    public LostUnderReadersTests()
    {
        _content.AsSpan((int)KeptRange.OffsetBytes, Cluster).Clear();
        _disk = new GatedNode([.. _content], ReadRange);
        _device = new BlockDevice(_disk, "active");
        _server = NbdServer.Listen(NbdUri.Parse($"nbd+unix:///active?socket={_folder.File("active")}"), this, new NbdServerOptions());
    }

    public static TheoryData<string> Programs => SnapshotRig.Programs;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        await _device.DisposeAsync();
        _folder.Dispose();
    }

    IReadOnlyList<NbdExport> IExportDirectory.List() => [Export()];

    NbdExport? IExportDirectory.Find(string name) => Export();

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task A_read_that_may_be_torn_fails(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content, tempFails: true, activeUri: _server.Uri);
        await using QemuSnapshot snapshot = await rig.OpenAsync();
        ValueTask reading = snapshot.Snapshot.ReadAsync(ReadRange.OffsetBytes, new byte[Cluster], Stop);

        await LoseAsync(rig);

        BlockException failure = await Assert.ThrowsAsync<BlockException>(async () => await reading);
        Assert.Equal(BlockErrors.Broken, failure.Kind);
        Assert.Equal(SessionState.Broken, snapshot.State);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task Zeros_that_the_guest_may_have_written_are_not_told(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content, tempFails: true, activeUri: _server.Uri);
        await using QemuSnapshot snapshot = await rig.OpenAsync();
        ValueTask<BlockStatusRun> asking = snapshot.Snapshot.GetStatusAsync(ReadRange.OffsetBytes, Cluster, Stop);

        await LoseAsync(rig);

        BlockException failure = await Assert.ThrowsAsync<BlockException>(async () => await asking);
        Assert.Equal(BlockErrors.Broken, failure.Kind);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task QEMU_itself_returns_the_new_bytes_with_success(string program)
    {
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, _content, tempFails: true, activeUri: _server.Uri);
        await using QemuSnapshot snapshot = await rig.OpenAsync(CopyErrorPolicy.BreakGuestWrite);
        byte[] read = new byte[Cluster];
        ValueTask reading = snapshot.Snapshot.ReadAsync(ReadRange.OffsetBytes, read, Stop);

        await LoseAsync(rig);

        await reading;
        Assert.False(read.AsSpan().ContainsAnyExcept((byte)0));
    }

    // The first write is one whose old data can't be kept.
    private async Task LoseAsync(SnapshotRig rig)
    {
        await _disk.Arrived.WaitAsync(Stop);
        await rig.Guest.WriteAsync(KeptRange.OffsetBytes, new byte[512], WriteFlags.None, Stop);
        await rig.Guest.WriteAsync(ReadRange.OffsetBytes, new byte[Cluster], WriteFlags.None, Stop);
        _disk.Open();
    }

    private NbdExport Export() => new()
    {
        Name = "active",
        Device = _device,
        Access = ExportAccess.Write,
        Contexts = [new AllocationContext(_device)],
    };
}
