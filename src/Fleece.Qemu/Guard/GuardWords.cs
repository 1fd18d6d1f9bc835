// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Serialization;
using Fleece.Block;
using Fleece.Disks;

namespace Fleece.Qemu.Guard;

/// <summary>The program that runs <see cref="GuardProcess"/>.</summary>
/// <param name="Path">The program.</param>
/// <param name="Arguments">Its arguments.</param>
internal sealed record GuardProgram(string Path, IReadOnlyList<string> Arguments);

/// <summary>What a guard stands by for.</summary>
/// <param name="QmpSocketPath">The monitor of the guest's QEMU, where that has the session; null for a disk that Fleece serves.</param>
/// <param name="Session">The session in the names of its nodes; null for a disk that Fleece serves.</param>
/// <param name="Quiesce">How the guest is frozen; null for not at all.</param>
internal sealed record GuardTask(string? QmpSocketPath, string? Session, QuiesceOptions? Quiesce);

/// <summary>The words between a process and its guard.</summary>
internal enum GuardVerb
{
    /// <summary>To the guard, first: its task.</summary>
    Task,

    /// <summary>From the guard: it has the task, and where it is to freeze, the agent.</summary>
    Ready,

    /// <summary>To the guard: freeze.</summary>
    Freeze,

    /// <summary>From the guard: the guest is frozen.</summary>
    Frozen,

    /// <summary>To the guard: thaw.</summary>
    Thaw,

    /// <summary>From the guard: the guest is thawed.</summary>
    Thawed,

    /// <summary>To the guard: it is needed no more.</summary>
    Done,

    /// <summary>From the guard: why not.</summary>
    Failed,
}

/// <summary>A word between a process and its guard: a line of JSON on the guard's standard input or output.</summary>
/// <param name="Verb">The word.</param>
/// <param name="Task">With <see cref="GuardVerb.Task"/>.</param>
/// <param name="IsInTime">With <see cref="GuardVerb.Thawed"/>: true when the guest was frozen until now.</param>
/// <param name="Kind">With <see cref="GuardVerb.Failed"/>: the kind of the error.</param>
/// <param name="Message">With <see cref="GuardVerb.Failed"/>: its text.</param>
internal sealed record GuardWord(
    GuardVerb Verb, GuardTask? Task = null, bool IsInTime = true, string? Kind = null, string? Message = null)
{
    /// <summary>A failure.</summary>
    public static GuardWord Failure(BlockException e) => new(GuardVerb.Failed, Kind: e.Kind, Message: e.Message);

    /// <summary>Reads a line. Null where it is none of these.</summary>
    public static GuardWord? TryParse(string line)
    {
        try
        {
            return JsonSerializer.Deserialize(line, GuardJson.Default.GuardWord);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>The line, without its end.</summary>
    public string ToLine() => JsonSerializer.Serialize(this, GuardJson.Default.GuardWord);
}

/// <summary>The words as JSON.</summary>
[JsonSourceGenerationOptions(UseStringEnumConverter = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(GuardWord))]
internal sealed partial class GuardJson : JsonSerializerContext;
