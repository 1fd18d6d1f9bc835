// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Guests;

/// <summary>Which node lies under which; of x-debug-query-block-graph, the one command that tells.</summary>
/// <remarks>QEMU has had the command since 4.0 and calls it unstable, so an answer in another form counts as no answer.</remarks>
internal sealed class BlockEdges
{
    private readonly Dictionary<(string Parent, string Role), string> _children = [];

    private BlockEdges()
    {
    }

    /// <summary>Asks QEMU.</summary>
    public static async ValueTask<BlockEdges> QueryAsync(QemuMonitor monitor, CancellationToken cancellationToken)
    {
        BlockEdges edges = new();
        JsonElement reply = await monitor.AskAsync("x-debug-query-block-graph", null, cancellationToken).ConfigureAwait(false);
        Dictionary<long, string> names = [];
        foreach (JsonElement node in Items(reply, "nodes"))
        {
            if (Number(node, "id") is { } id && Text(node, "name") is { } name && Text(node, "type") == "block-driver")
            {
                names[id] = name;
            }
        }

        foreach (JsonElement edge in Items(reply, "edges"))
        {
            if (Text(edge, "name") is { } role && Number(edge, "parent") is { } parent && Number(edge, "child") is { } child &&
                names.TryGetValue(parent, out string? parentName) && names.TryGetValue(child, out string? childName))
            {
                edges._children[(parentName, role)] = childName;
            }
        }

        return edges;
    }

    /// <summary>The node that a filter lies over; null where there is none.</summary>
    public string? FileOf(string nodeName) => _children.GetValueOrDefault((nodeName, "file"));

    /// <summary>The nodes that lie over a node in a role, such as "backing".</summary>
    public IReadOnlyList<string> ParentsOf(string nodeName, string role) =>
        [.. _children.Where(edge => edge.Value == nodeName && edge.Key.Role == role).Select(edge => edge.Key.Parent)];

    private static JsonElement[] Items(JsonElement reply, string member) =>
        reply.ValueKind == JsonValueKind.Object && reply.TryGetProperty(member, out JsonElement list) &&
        list.ValueKind == JsonValueKind.Array ? [.. list.EnumerateArray()] : [];

    private static string? Text(JsonElement item, string member) =>
        item.TryGetProperty(member, out JsonElement found) && found.ValueKind == JsonValueKind.String ? found.GetString() : null;

    private static long? Number(JsonElement item, string member) =>
        item.TryGetProperty(member, out JsonElement found) && found.TryGetInt64(out long number) ? number : null;
}
