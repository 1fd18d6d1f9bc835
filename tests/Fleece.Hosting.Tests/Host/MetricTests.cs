// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Telemetry;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Hosting.Logging;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Host;

/// <summary>Metrics over the control socket, and slow requests in the log.</summary>
public sealed class MetricTests : IAsyncDisposable
{
    private readonly HostRig _rig = new();

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    [Fact]
    public async Task A_host_tells_its_metrics_as_its_own_process_has_them()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        await client.MountAsync(await _rig.AddImageAsync("web"));
        Disk disk = Assert.Single(_rig.Mounted.All);
        Session session = (await Session.StartAsync([disk], new SessionOptions { Name = "nightly" }))[0];
        await disk.Device.WriteAsync(0, new byte[4096]);

        IReadOnlyList<MetricInfo> told = await client.CallAsync<IReadOnlyList<MetricInfo>>(
            nameof(IMetricControl.ListMetricsAsync), new { });

        // Other tests of the process lose connections.
        Assert.Equal(OfDisks(_rig.Mounted.ReadMetrics().Select(MetricInfo.Of)), OfDisks(told));
        Assert.Equal(1, Assert.Single(told, metric => metric.Name == "fleece.session.guest.wait").Count);
        await session.StopAsync();
    }

    private static IEnumerable<MetricInfo> OfDisks(IEnumerable<MetricInfo> metrics) =>
        metrics.Where(metric => metric.Name != "fleece.nbd.client.reconnects");

    [Fact]
    public async Task A_request_that_takes_the_time_of_a_slow_one_is_in_the_log()
    {
        _rig.SlowRequest = TimeSpan.FromTicks(1);
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        await client.MountAsync(await _rig.AddImageAsync("web"));
        Disk disk = Assert.Single(_rig.Mounted.All);
        Session session = (await Session.StartAsync([disk], new SessionOptions { Name = "nightly" }))[0];

        await disk.Device.WriteAsync(8192, new byte[4096]);
        await session.StopAsync();
        await _rig.StopAsync();

        Assert.Contains(
            "slow request: wait for the session before a write at 8192 of 4096 bytes took 0.", _rig.Log.ToString(), StringComparison.Ordinal);
        Assert.Contains("session 'web/nightly'", _rig.Log.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_negative_time_for_slow_requests_is_refused_and_nothing_is_made()
    {
        _rig.SlowRequest = TimeSpan.FromSeconds(-1);

        BlockException refusal = Assert.Throws<BlockException>(() => _rig.Begin());

        Assert.Equal(BlockErrors.InvalidArgument, refusal.Kind);
        Assert.Contains("more than zero", refusal.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_rig.StatePath));
    }

    [Fact]
    public void Slow_requests_are_told_a_few_times_a_minute_and_counted_besides()
    {
        ManualTime time = new();
        List<string> lines = [];
        SlowRequestLog log = new(lines.Add, time);
        SlowRequest request = new("export 'vm'", "Write", 4096, 512, TimeSpan.FromSeconds(1.5));

        for (int i = 0; i < SlowRequestLog.LinesPerMinute + 5; i++)
        {
            log.Tell(request);
        }

        Assert.Equal(SlowRequestLog.LinesPerMinute, lines.Count);
        Assert.Equal("slow request: Write at 4096 of 512 bytes took 1.500 s, export 'vm'", lines[^1]);

        time.Advance(TimeSpan.FromMinutes(1));
        log.Tell(request);

        Assert.EndsWith("export 'vm'; 5 more were not told", lines[^1], StringComparison.Ordinal);
    }
}
