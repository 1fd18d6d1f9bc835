// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Telemetry;
using Fleece.Disks.Exports;
using Fleece.Disks.Metering;
using Fleece.Disks.Records;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Metering;

/// <summary>The metrics of mounted disks, and their text for Prometheus.</summary>
public sealed class DiskMetricsTests : IAsyncDisposable
{
    private readonly Rig _rig = new();
    private readonly MountedDisks _mounted = new();

    public async ValueTask DisposeAsync()
    {
        await _mounted.DisposeAsync();
        await _rig.DisposeAsync();
    }

    [Fact]
    public async Task A_session_tells_what_it_has_cost()
    {
        Disk disk = await MountAsync("vm");
        Session session = await Rig.StartAsync(disk, new SessionOptions { Name = "nightly", Limits = new CopyLimits { TempBytes = 1 << 20 } });
        await disk.Device.WriteAsync(0, new byte[8192]);
        await session.Snapshot.ReadAsync(0, new byte[16384]);
        await session.Snapshot.DiscardAsync(0, 4096);

        Assert.Equal(1, Find("fleece.session.guest.wait").Count);
        Assert.Equal(1, Find("fleece.session.copy.duration").Count);
        Assert.Equal(8192, Find("fleece.session.copied").Value);
        Assert.Equal(8192, Find("fleece.session.read", ("source", "disk")).Value);
        Assert.Equal(8192, Find("fleece.session.read", ("source", "temp")).Value);
        Assert.Equal(4096, Find("fleece.session.discarded").Value);
        Assert.Equal(4096, Find("fleece.session.temp.usage").Value);
        Assert.Equal(1 << 20, Find("fleece.session.temp.limit").Value);
        Assert.Equal(1, Find("fleece.sessions", ("state", "active")).Value);
        Assert.Equal(1, Find("fleece.disks", ("state", "ok")).Value);
        SessionInfo info = session.Describe();
        Assert.Equal(1, info.GuestWaitCount);
        Assert.Equal(info.GuestWaitTotal, info.GuestWaitLongest);
        Assert.InRange(info.GuestWaitP50!.Value, TimeSpan.Zero, info.GuestWaitP99!.Value);
        Assert.InRange(info.GuestWaitP99.Value, TimeSpan.Zero, info.GuestWaitLongest!.Value);
    }

    [Fact]
    public async Task The_saved_copies_and_the_delays_of_a_session_are_told_as_its_record_has_them()
    {
        Disk disk = await MountAsync("vm");
        Session session = await Rig.StartAsync(disk, new SessionOptions
        {
            Ranges = [new BlockRange(0, 65536)],
            Limits = new CopyLimits { TempBytes = 65536, TempWarningPercent = 1, MaxGuestDelay = TimeSpan.FromMilliseconds(50) },
        });
        await session.Snapshot.DiscardAsync(0, 8192);
        await disk.Device.WriteAsync(0, new byte[8192]);
        await disk.Device.WriteAsync(16384, new byte[32768]);
        await disk.Device.WriteAsync(8192, new byte[4096]);

        SessionInfo info = session.Describe();

        Assert.Equal((8192, (1 << 20) - 65536, 1), (info.AvoidedBytes, info.DeniedBytes, info.GuestDelayCount));
        Assert.Equal(info.AvoidedBytes, Find("fleece.session.avoided").Value);
        Assert.Equal(info.DeniedBytes, Find("fleece.session.denied").Value);
        Assert.Equal(info.GuestDelay.TotalSeconds, Find("fleece.session.guest.delay").Value);
        Assert.Equal(info.GuestDelayCount, Find("fleece.session.guest.delayed_writes").Value);
    }

    [Fact]
    public async Task An_export_tells_what_its_clients_did_also_of_those_that_have_gone()
    {
        Disk disk = await MountAsync("vm");
        DiskExport export = await _mounted.Exports.PublishAsync(
            disk, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={_rig.Folder.File("s")}") });
        for (int i = 0; i < 2; i++)
        {
            await using NbdNode client = await NbdNode.ConnectAsync(export.Uri, new NbdNodeOptions(), default);
            await client.WriteAsync(0, new byte[4096], default, default);
            await client.ReadAsync(0, new byte[8192], default);
            await client.FlushAsync(default);
        }

        Assert.Equal(2, Find("fleece.nbd.server.request.duration", ("view", "disk"), ("command", "write")).Count);
        Assert.Equal(2, Find("fleece.nbd.server.request.duration", ("command", "read")).Count);
        Assert.Equal(2, Find("fleece.nbd.server.request.duration", ("command", "flush")).Count);
        Assert.Equal(8192, Find("fleece.nbd.server.io", ("view", "disk"), ("direction", "write")).Value);
        Assert.Equal(16384, Find("fleece.nbd.server.io", ("view", "disk"), ("direction", "read")).Value);
        Assert.Equal(2, Find("fleece.disk.flushes").Value);
        Assert.Equal(0, Find("fleece.disk.flush.failures").Value);
        Assert.Equal(256 * 1024 * 1024, Find("fleece.nbd.server.memory.limit").Value + (64 * 1024 * 1024));
    }

    [Fact]
    public async Task Requests_that_fail_count_by_their_kinds()
    {
        Disk disk = await MountAsync("vm");
        Session session = await Rig.StartAsync(disk, new SessionOptions { Name = "nightly" });
        await session.Snapshot.DiscardAsync(0, 4096);
        DiskExport export = await _mounted.Exports.PublishAsync(
            disk, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={_rig.Folder.File("s")}") });
        await using NbdNode client = await NbdNode.ConnectAsync(
            NbdUri.Parse($"nbd+unix:///vm%2Fnightly?socket={_rig.Folder.File("s")}"), new NbdNodeOptions(), default);

        await Record.ExceptionAsync(() => client.ReadAsync(0, new byte[4096], default).AsTask());

        MetricInfo errors = Find("fleece.nbd.server.errors");
        Assert.Equal((1, "snapshot"), (errors.Value, errors.Labels["view"]));
        Assert.Equal(Block.BlockErrors.Consumed, errors.Labels["error"]);
        Assert.Equal(1, Find("fleece.nbd.server.connections", ("view", "snapshot")).Value);
        Assert.Equal(0, Find("fleece.nbd.server.connections", ("view", "disk")).Value);
    }

    [Fact]
    public async Task Slow_requests_of_guests_are_counted_and_told()
    {
        List<SlowRequest> told = [];
        _mounted.WatchSlow(TimeSpan.Zero, told.Add);
        Disk disk = await MountAsync("vm");
        DiskExport export = await _mounted.Exports.PublishAsync(
            disk, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={_rig.Folder.File("s")}") });
        await using (NbdNode client = await NbdNode.ConnectAsync(export.Uri, new NbdNodeOptions(), default))
        {
            await client.WriteAsync(8192, new byte[4096], default, default);
        }

        SlowRequest only = Assert.Single(told);
        Assert.Equal(("export 'vm' of the disk 'vm'", "Write"), (only.Subject, only.Operation));
        Assert.Equal((8192, 4096), (only.OffsetBytes, only.LengthBytes));
        Assert.Equal(1, Find("fleece.disk.slow_requests").Value);
    }

    [Fact]
    public async Task A_write_whose_wait_for_a_session_was_told_is_not_told_again()
    {
        List<SlowRequest> told = [];
        _mounted.WatchSlow(TimeSpan.Zero, told.Add);
        Disk disk = await MountAsync("vm");
        await Rig.StartAsync(disk, new SessionOptions { Name = "nightly" });
        DiskExport export = await _mounted.Exports.PublishAsync(
            disk, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={_rig.Folder.File("s")}") });
        await using (NbdNode client = await NbdNode.ConnectAsync(export.Uri, new NbdNodeOptions(), default))
        {
            await client.WriteAsync(8192, new byte[512], default, default);
            await client.WriteAsync(8192, new byte[512], default, default);
        }

        Assert.Equal(["session 'vm/nightly'", "export 'vm' of the disk 'vm'"], told.Select(request => request.Subject));
        Assert.Equal(3, Find("fleece.disk.slow_requests").Value);
    }

    [Fact]
    public async Task Every_metric_that_is_told_is_among_those_that_are_known()
    {
        Disk disk = await MountAsync("vm");
        await Rig.StartAsync(disk, new SessionOptions { Name = "nightly" });
        await _mounted.Exports.PublishAsync(
            disk, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={_rig.Folder.File("s")}") });

        Assert.Subset(FleeceMetrics.All.ToHashSet(), _mounted.ReadMetrics().Select(reading => reading.Metric).ToHashSet());
    }

    // The rules of the format: https://prometheus.io/docs/instrumenting/exposition_formats/
    [Fact]
    public void The_text_for_Prometheus_has_help_type_units_and_escaped_labels()
    {
        MetricInfo counter = MetricInfo.Of(
            new MetricOwner(("disk", "a\"b\\c\nd")).Read(new Metric("a.b", MetricKind.Counter, "By", "What\nit is."), 1.5));
        MetricInfo other = MetricInfo.Of(new MetricOwner(("disk", "x")).Read(new Metric("c", MetricKind.Gauge, "{x}", "C."), 2));
        MetricInfo third = MetricInfo.Of(new MetricOwner(("disk", "y")).Read(new Metric("a.b", MetricKind.Counter, "By", "What\nit is."), 3));

        Assert.Equal(
            """
            # HELP a_b_bytes_total What\nit is.
            # TYPE a_b_bytes_total counter
            a_b_bytes_total{disk="a\"b\\c\nd"} 1.5
            a_b_bytes_total{disk="y"} 3
            # HELP c C.
            # TYPE c gauge
            c{disk="x"} 2

            """.ReplaceLineEndings("\n"),
            PrometheusText.Of([counter, other, third]));
    }

    [Fact]
    public async Task Promtool_takes_the_text()
    {
        Peer.Need("promtool");
        Disk disk = await MountAsync("vm");
        Disk strange = await MountAsync("a \"strange\" name");
        await Rig.StartAsync(disk, new SessionOptions { Name = "nightly" });
        await Rig.StartAsync(strange, new SessionOptions { Name = "nightly" });
        await disk.Device.WriteAsync(0, new byte[8192]);
        await _mounted.Exports.PublishAsync(
            disk, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={_rig.Folder.File("s")}") });
        string file = _rig.Folder.File("fleece.prom");
        await File.WriteAllTextAsync(file, PrometheusText.Of(_mounted.ReadMetrics().Select(MetricInfo.Of)));

        string said = await Peer.RunAsync("sh", "-c", $"promtool check metrics < '{file}' 2>&1");

        Assert.Equal(string.Empty, said);
    }

    private MetricInfo Find(string name, params (string Name, string Value)[] labels) => Assert.Single(
        _mounted.ReadMetrics().Select(MetricInfo.Of),
        metric => metric.Name == name && labels.All(label => metric.Labels[label.Name] == label.Value));

    private async Task<Disk> MountAsync(string name)
    {
        string path = _rig.Folder.File($"{Guid.NewGuid():N}.raw");
        await File.WriteAllBytesAsync(path, [.. Enumerable.Repeat((byte)7, 1 << 20)]);
        return await _mounted.MountAsync(path, name);
    }
}
