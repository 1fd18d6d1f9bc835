// SPDX-License-Identifier: MIT
using System.Text.Json;

namespace Fleece.Qemu.Qmp;

/// <summary>What a QEMU's monitor takes: its commands and their members; of query-qmp-schema, some 200 KB.</summary>
/// <remarks>QEMU's QMP reference, section "QMP introspection", has the form. A schema says how QEMU was built; a command that it lists may
/// still be refused for a device. Threading. It does not change, so it is safe from any thread.</remarks>
internal sealed class QmpSchema
{
    private readonly Dictionary<string, JsonElement> _entities;

    private QmpSchema(Dictionary<string, JsonElement> entities) => _entities = entities;

    /// <summary>Asks a monitor.</summary>
    /// <exception cref="Fleece.Block.BlockException">As <see cref="IQmpChannel.ExecuteAsync"/>; <see cref="QemuErrors.NotQmp"/> for an
    /// answer that is no schema.</exception>
    public static async ValueTask<QmpSchema> QueryAsync(IQmpChannel channel, CancellationToken cancellationToken)
    {
        JsonElement reply = await channel.ExecuteAsync("query-qmp-schema", null, cancellationToken).ConfigureAwait(false);
        Dictionary<string, JsonElement> entities = [];
        foreach (JsonElement entity in Items(reply))
        {
            if (Text(entity, "name") is not { } name || !entities.TryAdd(name, entity))
            {
                throw QmpFailures.NotQmp(channel.SocketPath, "its schema has an entry without a name of its own");
            }
        }

        return entities.Count > 0
            ? new QmpSchema(entities)
            : throw QmpFailures.NotQmp(channel.SocketPath, "its schema is empty");
    }

    /// <summary>True when it has the command.</summary>
    public bool HasCommand(string command) =>
        _entities.TryGetValue(command, out JsonElement found) && Text(found, "meta-type") == "command";

    /// <summary>True when the command takes the member, whatever the command's other members say.</summary>
    public bool HasMember(string command, string member) => Find(Arguments(command), "members", "name", member) is not null;

    /// <summary>True when a member of the command chooses between branches, one of which has the name.</summary>
    /// <param name="command">The command, for example "block-export-add".</param>
    /// <param name="branch">The value of the member that chooses, for example "nbd".</param>
    public bool HasBranch(string command, string branch) => Find(Arguments(command), "variants", "case", branch) is not null;

    /// <summary>True when the command takes the member in that branch, or in all of them.</summary>
    /// <param name="command">The command, for example "block-export-add".</param>
    /// <param name="branch">The value of the member that chooses, for example "nbd".</param>
    /// <param name="member">The member, for example "bitmaps".</param>
    public bool HasBranchMember(string command, string branch, string member) =>
        Find(Arguments(command), "variants", "case", branch) is { } variant &&
        (HasMember(command, member) || Find(Entity(Text(variant, "type")), "members", "name", member) is not null);

    /// <summary>True when it has the block driver.</summary>
    public bool HasDriver(string driver) => HasBranch("blockdev-add", driver);

    /// <summary>True when nodes of the driver take the option.</summary>
    public bool HasDriverOption(string driver, string option) => HasBranchMember("blockdev-add", driver, option);

    /// <summary>True when "transaction" takes the action.</summary>
    public bool HasAction(string action) =>
        Find(Arguments("transaction"), "members", "name", "actions") is { } actions &&
        Text(Entity(Text(actions, "type")), "element-type") is { } element &&
        Find(Entity(element), "variants", "case", action) is not null;

    private JsonElement Arguments(string command) => HasCommand(command) ? Entity(Text(_entities[command], "arg-type")) : default;

    private JsonElement Entity(string? name) => name is not null && _entities.TryGetValue(name, out JsonElement found) ? found : default;

    private static JsonElement? Find(JsonElement entity, string list, string key, string value)
    {
        if (entity.ValueKind == JsonValueKind.Object && entity.TryGetProperty(list, out JsonElement items))
        {
            foreach (JsonElement item in Items(items))
            {
                if (Text(item, key) == value)
                {
                    return item;
                }
            }
        }

        return null;
    }

    private static JsonElement.ArrayEnumerator Items(JsonElement list) =>
        list.ValueKind == JsonValueKind.Array ? list.EnumerateArray() : default;

    private static string? Text(JsonElement entity, string member) =>
        entity.ValueKind == JsonValueKind.Object && entity.TryGetProperty(member, out JsonElement found) &&
        found.ValueKind == JsonValueKind.String ? found.GetString() : null;
}
