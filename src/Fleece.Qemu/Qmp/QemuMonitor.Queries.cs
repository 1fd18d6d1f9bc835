// SPDX-License-Identifier: MIT
using System.Numerics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;

namespace Fleece.Qemu.Qmp;

/// <content>The questions.</content>
internal sealed partial class QemuMonitor
{
    /// <summary>The guest's name; null where it has none.</summary>
    public async ValueTask<string?> QueryNameAsync(CancellationToken cancellationToken) =>
        Text(await AskAsync("query-name", null, cancellationToken).ConfigureAwait(false), "name");

    /// <summary>Whether the guest runs.</summary>
    public async ValueTask<QemuStatusReply> QueryStatusAsync(CancellationToken cancellationToken)
    {
        JsonElement reply = await AskAsync("query-status", null, cancellationToken).ConfigureAwait(false);
        return new QemuStatusReply(Flag(reply, "running"), MustText(reply, "status"));
    }

    /// <summary>The guest's devices with media, or with room for them.</summary>
    public async ValueTask<IReadOnlyList<QemuDeviceReply>> QueryDevicesAsync(CancellationToken cancellationToken) =>
        [.. Items(await AskAsync("query-block", null, cancellationToken).ConfigureAwait(false)).Select(item => new QemuDeviceReply(
            MustText(item, "device"),
            Text(item, "qdev"),
            Flag(item, "removable"),
            Member(item, "inserted") is { } inserted ? Text(inserted, "node-name") : null))];

    /// <summary>All nodes of the block graph.</summary>
    public async ValueTask<IReadOnlyList<QemuNodeReply>> QueryNodesAsync(CancellationToken cancellationToken) =>
        [.. Items(await AskAsync("query-named-block-nodes", new JsonObject { ["flat"] = true }, cancellationToken).ConfigureAwait(false))
            .Select(NodeOf)];

    /// <summary>All exports.</summary>
    public async ValueTask<IReadOnlyList<QemuExportReply>> QueryExportsAsync(CancellationToken cancellationToken) =>
        [.. Items(await AskAsync("query-block-exports", null, cancellationToken).ConfigureAwait(false)).Select(item => new QemuExportReply(
            MustText(item, "id"), MustText(item, "type"), MustText(item, "node-name"), Flag(item, "shutting-down")))];

    /// <summary>All jobs on block nodes.</summary>
    public async ValueTask<IReadOnlyList<QemuJobReply>> QueryJobsAsync(CancellationToken cancellationToken) =>
        [.. Items(await AskAsync("query-block-jobs", null, cancellationToken).ConfigureAwait(false)).Select(item => new QemuJobReply(
            MustText(item, "device"), MustText(item, "type"), MustText(item, "status")))];

    /// <summary>All character devices.</summary>
    public async ValueTask<IReadOnlyList<QemuChardevReply>> QueryChardevsAsync(CancellationToken cancellationToken) =>
        [.. Items(await AskAsync("query-chardev", null, cancellationToken).ConfigureAwait(false)).Select(item => new QemuChardevReply(
            MustText(item, "label"), MustText(item, "filename")))];

    private QemuNodeReply NodeOf(JsonElement item)
    {
        JsonElement image = Member(item, "image") ?? throw Unreadable("image");
        JsonElement? specific = Member(image, "format-specific") is { } format ? Member(format, "data") : null;
        return new QemuNodeReply(
            MustText(item, "node-name"),
            MustText(item, "drv"),
            Flag(item, "ro"),
            MustNumber(image, "virtual-size", long.MaxValue),
            QemuFileNames.FileOf(Text(item, "file")),
            (int?)Number(image, "cluster-size", int.MaxValue, 1),
            specific is { } data ? Text(data, "compat") : null,
            Member(item, "dirty-bitmaps", JsonValueKind.Array) is { } bitmaps
                ? [.. Items(bitmaps).Where(bitmap => bitmap.TryGetProperty("name", out _)).Select(BitmapOf)]
                : []);
    }

    private QemuBitmapReply BitmapOf(JsonElement item) => new(
        MustText(item, "name"),
        MustNumber(item, "granularity", int.MaxValue) is var granularityBytes && BitOperations.IsPow2(granularityBytes)
            ? granularityBytes
            : throw Unreadable("granularity"),
        MustNumber(item, "count", long.MaxValue),
        Flag(item, "recording"),
        Flag(item, "busy"),
        Flag(item, "persistent"),
        Flag(item, "inconsistent"));

    // All of the lists that are asked for are lists of objects.
    private IEnumerable<JsonElement> Items(JsonElement reply) => reply.ValueKind == JsonValueKind.Array
        ? reply.EnumerateArray().Select(item => item.ValueKind == JsonValueKind.Object ? item : throw Unreadable("an object in a list"))
        : throw Unreadable("a list");

    private string MustText(JsonElement item, string member) => Text(item, member) ?? throw Unreadable(member);

    private long MustNumber(JsonElement item, string member, long maximum) => Number(item, member, maximum) ?? throw Unreadable(member);

    private static JsonElement? Member(JsonElement item, string member, JsonValueKind kind = JsonValueKind.Object) =>
        item.ValueKind == JsonValueKind.Object && item.TryGetProperty(member, out JsonElement found) && found.ValueKind == kind
            ? found
            : null;

    private static string? Text(JsonElement item, string member) => Member(item, member, JsonValueKind.String)?.GetString();

    private static bool Flag(JsonElement item, string member) => Member(item, member, JsonValueKind.True) is not null;

    // From the minimum to the maximum; null without the member. A number that is outside is none of QEMU's.
    private long? Number(JsonElement item, string member, long maximum, long minimum = 0)
    {
        if (Member(item, member, JsonValueKind.Number) is not { } found)
        {
            return null;
        }

        return found.TryGetInt64(out long number) && number >= minimum && number <= maximum ? number : throw Unreadable(member);
    }

    private BlockException Unreadable(string member) => new(
        QemuErrors.NotQmp,
        $"The monitor at '{SocketPath}' answered without '{member}', which QEMU's always have. See that the socket is QEMU's.",
        SocketPath);
}
