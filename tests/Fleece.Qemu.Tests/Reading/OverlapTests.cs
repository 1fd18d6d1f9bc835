// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Nbd;
using Fleece.Nbd.Server;
using Fleece.Nbd.Server.Exports;
using Fleece.Qemu.Reading;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Reading;

/// <summary>Two requests at a time for one range end QEMU before 9.1.1. Debian's 7.2 has the mend, so a server of ours stands in for it.
/// </summary>
public sealed class OverlapTests : IExportDirectory, IAsyncDisposable
{
    private const int Cluster = SnapshotRig.ClusterBytes;

    private const int DiskBytes = 24 * Cluster + 4096;

    private readonly TempFolder _folder = new();
    private readonly Seeds _seeds = Seeds.FromEnvironment();
    private readonly OneAtATimeNode _node;
    private readonly BlockDevice _device;
    private readonly NbdServer _server;

    public OverlapTests()
    {
        _node = new OneAtATimeNode(new byte[DiskBytes]);
        _device = new BlockDevice(_node, "vm");
        _server = NbdServer.Listen(NbdUri.Parse($"nbd+unix:///vm?socket={_folder.File("nbd")}"), this, new NbdServerOptions());
    }

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        await _device.DisposeAsync();
        _folder.Dispose();
    }

    IReadOnlyList<NbdExport> IExportDirectory.List() => [Export()];

    NbdExport? IExportDirectory.Find(string name) => Export();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Requests_of_many_readers_never_overlap_where_QEMU_would_end(bool readsOneClusterAtATime)
    {
        await using (QemuSnapshot snapshot = await OpenAsync(new QemuReadRules(readsOneClusterAtATime, RefusesOverlaps: true)))
        {
            await Task.WhenAll(Enumerable.Range(0, 12).Select(_ => UseAsync(snapshot, _seeds.Fork())));
        }

        Assert.Equal(0, _node.OverlapCount);
        Assert.True(_node.MostAtOnce > 4, $"only {_node.MostAtOnce} of {_node.RequestCount} requests ran at a time");
    }

    [Fact]
    public async Task Requests_overlap_where_QEMU_takes_that()
    {
        await using (QemuSnapshot snapshot = await OpenAsync(new QemuReadRules(ReadsOneClusterAtATime: false, RefusesOverlaps: false)))
        {
            await Task.WhenAll(Enumerable.Range(0, 12).Select(_ => UseAsync(snapshot, _seeds.Fork())));
        }

        Assert.NotEqual(0, _node.OverlapCount);
    }

    // Reads, status and discards of ranges that overlap; some are cancelled while QEMU works on them.
    private static async Task UseAsync(QemuSnapshot snapshot, Seeds seeds)
    {
        for (int i = 0; i < 40; i++)
        {
            using CancellationTokenSource cancel = new();
            BlockRange range = seeds.Range(DiskBytes);
            Task request = seeds.Next(10) switch
            {
                0 => snapshot.Snapshot.DiscardAsync(range.OffsetBytes, Math.Min(range.LengthBytes, Cluster), cancel.Token).AsTask(),
                < 5 => snapshot.Snapshot.GetStatusAsync(range.OffsetBytes, range.LengthBytes, cancel.Token).AsTask(),
                _ => snapshot.Snapshot.ReadAsync(range.OffsetBytes, new byte[range.LengthBytes], cancel.Token).AsTask(),
            };
            if (seeds.Chance(20))
            {
                await Task.Delay(1, CancellationToken.None);
                await cancel.CancelAsync();
            }

            try
            {
                await request;
            }
            catch (Exception refusal) when (refusal is BlockException { Kind: BlockErrors.Consumed } or OperationCanceledException)
            {
                // Others have consumed it, or this one has changed its mind.
            }
        }
    }

    private ValueTask<QemuSnapshot> OpenAsync(QemuReadRules rules) => QemuSnapshot.OpenAsync(
        new QemuSnapshotOptions(_server.Uri, "vm/s1", Cluster, null, rules, CopyErrorPolicy.BreakSnapshot),
        TestContext.Current.CancellationToken);

    private NbdExport Export() => new()
    {
        Name = "vm",
        Device = _device,
        Access = ExportAccess.Consume,
        Contexts = [new AllocationContext(_device)],
    };
}
