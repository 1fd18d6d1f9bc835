// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;

namespace Fleece.Qemu.Bitmaps;

/// <summary>The actions of QMP's "transaction" on dirty bitmaps.</summary>
internal static class BitmapActions
{
    /// <summary>Adds a bitmap that records.</summary>
    public static JsonObject Add(string node, string name, bool isPersistent, long granularityBytes) => Of(
        "block-dirty-bitmap-add",
        new JsonObject { ["node"] = node, ["name"] = name, ["persistent"] = isPersistent, ["granularity"] = granularityBytes });

    /// <summary>Adds to a bitmap's bits those of others.</summary>
    public static JsonObject Merge(string node, string target, IReadOnlyList<string> sources) => Of(
        "block-dirty-bitmap-merge",
        new JsonObject
        {
            ["node"] = node,
            ["target"] = target,
            ["bitmaps"] = new JsonArray([.. sources.Select(source => JsonValue.Create(source))]),
        });

    /// <summary>Lets a bitmap record.</summary>
    public static JsonObject Enable(string node, string name) => Of("block-dirty-bitmap-enable", Names(node, name));

    /// <summary>Stops a bitmap.</summary>
    public static JsonObject Disable(string node, string name) => Of("block-dirty-bitmap-disable", Names(node, name));

    /// <summary>Empties a bitmap.</summary>
    public static JsonObject Clear(string node, string name) => Of("block-dirty-bitmap-clear", Names(node, name));

    /// <summary>Removes a bitmap.</summary>
    public static JsonObject Remove(string node, string name) => Of("block-dirty-bitmap-remove", Names(node, name));

    private static JsonObject Names(string node, string name) => new() { ["node"] = node, ["name"] = name };

    private static JsonObject Of(string type, JsonObject data) => new() { ["type"] = type, ["data"] = data };
}
