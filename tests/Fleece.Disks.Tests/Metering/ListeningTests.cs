// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Fleece.Block;

namespace Fleece.Disks.Tests.Metering;

/// <summary>Listeners in the process hear of all; those of OpenTelemetry and dotnet-counters are such.</summary>
public sealed class ListeningTests : IAsyncDisposable
{
    private readonly Rig _rig = new();
    private readonly MountedDisks _mounted = new();

    // Other tests of the process have disks too.
    private readonly string _name = $"vm-{Guid.NewGuid():N}";

    public async ValueTask DisposeAsync()
    {
        await _mounted.DisposeAsync();
        await _rig.DisposeAsync();
    }

    [Fact]
    public async Task A_meter_listener_hears_of_waits_as_they_happen_and_of_totals_when_it_asks()
    {
        using Heard heard = new(_name);
        Disk disk = await MountAsync();
        await Rig.StartAsync(disk, new SessionOptions { Name = "nightly" });
        await disk.Device.WriteAsync(0, new byte[4096]);

        heard.Listener.RecordObservableInstruments();

        Assert.Contains($"fleece.session.guest.wait disk={_name} session=nightly", heard.Series);
        Assert.Contains($"fleece.session.copy.duration disk={_name} session=nightly", heard.Series);
        Assert.Contains($"fleece.session.temp.usage disk={_name} session=nightly", heard.Series);
        Assert.Contains($"fleece.disk.flushes disk={_name}", heard.Series);
    }

    [Fact]
    public async Task The_series_of_a_session_end_with_it_and_those_of_a_disk_with_its_dismount()
    {
        Disk disk = await MountAsync();
        Session session = await Rig.StartAsync(disk, new SessionOptions { Name = "nightly" });
        await session.StopAsync();
        using Heard heard = new(_name);

        heard.Listener.RecordObservableInstruments();
        Assert.DoesNotContain(heard.Series, series => series.Contains("nightly", StringComparison.Ordinal));
        Assert.NotEmpty(heard.Series);

        await _mounted.DismountAsync(_name, isForced: true);
        heard.Series.Clear();
        heard.Listener.RecordObservableInstruments();

        Assert.Empty(heard.Series);
    }

    [Fact]
    public async Task An_activity_listener_hears_of_starts_and_stops_and_whether_they_succeeded()
    {
        ConcurrentQueue<string> heard = [];
        using ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name == "Fleece",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = activity =>
            {
                if (Equals(activity.GetTagItem("disk"), _name))
                {
                    heard.Enqueue($"{activity.OperationName} {activity.GetTagItem("session")} {activity.Status}");
                }
            },
        };
        ActivitySource.AddActivityListener(listener);
        Disk disk = await MountAsync();

        Session session = await Rig.StartAsync(disk, new SessionOptions { Name = "nightly" });
        await Assert.ThrowsAsync<BlockException>(() => Rig.StartAsync(disk, new SessionOptions { Name = "nightly" }));
        await session.StopAsync();

        Assert.Equal(["fleece.session.start  Ok", "fleece.session.start  Error", "fleece.session.stop nightly Ok"], heard);
        Assert.Null(Activity.Current);
    }

    private async Task<Disk> MountAsync()
    {
        string path = _rig.Folder.File(_name + ".raw");
        await File.WriteAllBytesAsync(path, [.. Enumerable.Repeat((byte)7, 1 << 20)]);
        return await _mounted.MountAsync(path, _name);
    }

    /// <summary>The series of one disk that a listener has heard of.</summary>
    private sealed class Heard : IDisposable
    {
        public Heard(string disk)
        {
            Listener.InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == "Fleece")
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            };
            Listener.SetMeasurementEventCallback<double>((instrument, _, tags, _) =>
            {
                string series = $"{instrument.Name} {string.Join(' ', tags.ToArray().Select(tag => $"{tag.Key}={tag.Value}"))}";
                if (series.Contains(disk, StringComparison.Ordinal))
                {
                    Series.Enqueue(series);
                }
            });
            Listener.Start();
        }

        public MeterListener Listener { get; } = new();

        public ConcurrentQueue<string> Series { get; } = [];

        public void Dispose() => Listener.Dispose();
    }
}
