// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Disks.Names;
using Fleece.Qemu.Bitmaps;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>A session of both disks of a <see cref="RunningGuest"/>: virtio0 limited to its bitmap, sd0 whole.</summary>
internal static class TwoDisks
{
    public static readonly Guid Baseline = new("00112233445566778899aabbccddeeff");

    public static string Pinned => new QemuBitmapName("daily", Baseline).ToString();

    /// <summary>Adds the bitmap that records from a baseline.</summary>
    public static ValueTask AddBitmapAsync(QemuMonitor monitor) => monitor.RunTransactionAsync(
        [BitmapActions.Add("a", Pinned, isPersistent: true, 65536)], TestContext.Current.CancellationToken);

    public static string Pending(Guid instantId) => new QemuBitmapName("daily", instantId, IsPending: true).ToString();

    /// <summary>Ends the bitmap's turn as a session without success does.</summary>
    public static IReadOnlyList<JsonObject> Failure(Guid instantId) =>
    [
        BitmapActions.Merge("a", Pinned, [Pending(instantId)]),
        BitmapActions.Enable("a", Pinned),
        BitmapActions.Remove("a", Pending(instantId)),
    ];

    /// <summary>Ends the bitmap's turn as a session with success does.</summary>
    public static IReadOnlyList<JsonObject> Success(Guid instantId) =>
    [
        BitmapActions.Add("a", Next(instantId), isPersistent: true, 65536),
        BitmapActions.Merge("a", Next(instantId), [Pending(instantId)]),
        BitmapActions.Remove("a", Pending(instantId)),
        BitmapActions.Remove("a", Pinned),
    ];

    public static string Next(Guid instantId) => new QemuBitmapName("daily", instantId).ToString();

    public static async Task<IReadOnlyList<FleecingRequest>> RequestsAsync(QemuMonitor monitor, Guid instantId) =>
    [
        new FleecingRequest
        {
            Disk = await RunningGuest.FindAsync(monitor, "virtio0"),
            LimitedBy = Pinned,
            AtInstant =
            [
                BitmapActions.Add("a", Pending(instantId), isPersistent: true, 65536),
                BitmapActions.Disable("a", Pinned),
            ],
        },
        new FleecingRequest { Disk = await RunningGuest.FindAsync(monitor, "sd0") },
    ];

    /// <summary>Begins the session.</summary>
    public static async Task<FleecingGraph> BuildAsync(QemuMonitor monitor, Guid instantId, IInstantGuard? guard = null) =>
        await FleecingGraph.BuildAsync(
            monitor,
            await QmpSchema.QueryAsync(monitor.Channel, TestContext.Current.CancellationToken),
            instantId,
            await RequestsAsync(monitor, instantId),
            guard ?? new TestGuard(),
            new GraphOptions(),
            TestContext.Current.CancellationToken);
}
