// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Fleece.Hosting.Auditing;

/// <summary>An action that the audit trail tells of, before its outcome is known.</summary>
/// <param name="Name">The object and the verb: "session.start".</param>
/// <param name="Text">A part of a sentence for people: "start session nightly on web".</param>
/// <param name="Targets">The disks, "DISK/SESSION", paths and addresses that it is about, as the client named them.</param>
internal sealed record AuditedAction(string Name, string Text, params IReadOnlyList<string> Targets);

/// <summary>How an action ended.</summary>
internal enum AuditOutcome
{
    /// <summary>It was done.</summary>
    Done,

    /// <summary>It was refused, and changed nothing, unless the error says otherwise.</summary>
    Refused,

    /// <summary>The client gave it up.</summary>
    Cancelled,

    /// <summary>It ended with a defect of Fleece.</summary>
    Failed,
}

/// <summary>A line of the audit trail.</summary>
internal sealed record AuditEntry
{
    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web)
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase) },
    };

    /// <summary>When it ended, in UTC.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>As <see cref="AuditedAction.Name"/>.</summary>
    public required string Action { get; init; }

    /// <summary>How it ended.</summary>
    public required AuditOutcome Outcome { get; init; }

    /// <summary>The name of the user who asked for it.</summary>
    public required string User { get; init; }

    /// <summary>The number of that user.</summary>
    public required uint UserId { get; init; }

    /// <summary>The process that asked for it; 0 where it is of another PID namespace.</summary>
    public required int ProcessId { get; init; }

    /// <summary>As <see cref="AuditedAction.Targets"/>.</summary>
    public required IReadOnlyList<string> Targets { get; init; }

    /// <summary>As <see cref="AuditedAction.Text"/>.</summary>
    public required string Text { get; init; }

    /// <summary>The kind of the error; null for none.</summary>
    public string? ErrorKind { get; init; }

    /// <summary>The error's message; null for none.</summary>
    public string? Error { get; init; }

    /// <summary>As JSON in UTF-8, without a line end.</summary>
    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, Options);
}
