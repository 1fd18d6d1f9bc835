// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Guests;

/// <summary>Properties of QEMU's objects.</summary>
internal static class QomProperties
{
    /// <summary>The objects that have an id. QEMU's "QOM" documentation, "/machine/peripheral".</summary>
    public const string Peripherals = "/machine/peripheral/";

    /// <summary>The path of a device; query-block gives the bare id where the device itself has one.</summary>
    public static string PathOf(string qdev) => qdev.StartsWith('/') ? qdev : Peripherals + qdev;

    /// <summary>A property's value; null where the object or the property does not exist.</summary>
    public static async ValueTask<JsonElement?> FindAsync(
        QemuMonitor monitor, string path, string property, CancellationToken cancellationToken)
    {
        try
        {
            return await monitor
                .AskAsync("qom-get", new JsonObject { ["path"] = path, ["property"] = property }, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (e.Kind == QemuErrors.CommandRefused)
        {
            return null;
        }
    }

    /// <summary>A property's text; null where it has none.</summary>
    public static async ValueTask<string?> FindTextAsync(
        QemuMonitor monitor, string path, string property, CancellationToken cancellationToken) =>
        await FindAsync(monitor, path, property, cancellationToken).ConfigureAwait(false) is { ValueKind: JsonValueKind.String } value &&
        value.GetString() is { Length: > 0 } text ? text : null;

    /// <summary>The children of a type, by their names; none where the object does not exist.</summary>
    public static async ValueTask<IReadOnlyList<string>> ListAsync(
        QemuMonitor monitor, string path, string type, CancellationToken cancellationToken)
    {
        try
        {
            JsonElement reply = await monitor
                .AskAsync("qom-list", new JsonObject { ["path"] = path }, cancellationToken).ConfigureAwait(false);
            return reply.ValueKind != JsonValueKind.Array ? [] :
            [
                .. from item in reply.EnumerateArray()
                   where item.ValueKind == JsonValueKind.Object
                   where item.TryGetProperty("type", out JsonElement found) && found.ValueEquals($"child<{type}>")
                   where item.TryGetProperty("name", out JsonElement name) && name.ValueKind == JsonValueKind.String
                   select item.GetProperty("name").GetString()!,
            ];
        }
        catch (BlockException e) when (e.Kind == QemuErrors.CommandRefused)
        {
            return [];
        }
    }
}
