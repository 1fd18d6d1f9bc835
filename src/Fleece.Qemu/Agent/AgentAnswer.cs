// SPDX-License-Identifier: MIT
using System.Text.Json;

namespace Fleece.Qemu.Agent;

/// <summary>An agent's answer to a command.</summary>
/// <param name="Return">The member "return"; undefined in a refusal.</param>
/// <param name="Error">The text of a refusal; null where the command was run.</param>
internal readonly record struct AgentAnswer(JsonElement Return, string? Error)
{
    // The guest writes it, and it goes into messages.
    private const int MaximumErrorLength = 400;

    /// <summary>Reads a line.</summary>
    /// <exception cref="Fleece.Block.BlockException"><see cref="QemuErrors.AgentFailed"/>: it is no answer.</exception>
    public static AgentAnswer Parse(ReadOnlyMemory<byte> line, string socketPath) =>
        TryParse(line) ?? throw AgentFailures.NotAnAgent(socketPath, "It sent a line that is no answer to a command.");

    /// <summary>Reads a line. Null where it is no answer.</summary>
    public static AgentAnswer? TryParse(ReadOnlyMemory<byte> line)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement root = document.RootElement;
            return root.ValueKind != JsonValueKind.Object ? null :
                root.TryGetProperty("return", out JsonElement returned) ? new AgentAnswer(returned.Clone(), null) :
                root.TryGetProperty("error", out JsonElement error) ? new AgentAnswer(default, TextOf(error)) :
                null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static string TextOf(JsonElement error)
    {
        string text = error.ValueKind == JsonValueKind.Object && error.TryGetProperty("desc", out JsonElement description) &&
            description.ValueKind == JsonValueKind.String ? description.GetString()! : error.GetRawText();
        return text.Length <= MaximumErrorLength ? text : text[..MaximumErrorLength] + "...";
    }
}
