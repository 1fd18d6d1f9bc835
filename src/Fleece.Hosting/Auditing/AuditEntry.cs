// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Serialization;
using Fleece.Block;
using Fleece.Hosting.Control;

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

    /// <summary>It ended with a defect of Fleece; or it is the failure of which the host itself tells.</summary>
    Failed,
}

/// <summary>How a request went that has an answer.</summary>
/// <param name="Outcome">Its outcome.</param>
/// <param name="Text">The same for people, as the end of a line in the log.</param>
/// <param name="Error">What the client hears later, or why not all of it was done; null for nothing.</param>
internal sealed record ActionResult(AuditOutcome Outcome, string Text, BlockException? Error = null)
{
    /// <summary>It was done.</summary>
    public static ActionResult Done { get; } = new(AuditOutcome.Done, "done");

    /// <summary>A session has ended.</summary>
    /// <param name="brokenBy">Why it had broken; null for one that was whole.</param>
    public static ActionResult Ended(string? brokenBy) => brokenBy is null
        ? Done
        : new ActionResult(
            AuditOutcome.Done,
            $"done, without success, because the session was broken: {brokenBy}",
            new BlockException(BlockErrors.Broken, $"The session was broken: {brokenBy}"));

    /// <summary>A snapshot was opened for reading.</summary>
    /// <param name="brokenBy">Why its session has broken, which each read is answered with; null for one that is whole.</param>
    public static ActionResult Opened(string? brokenBy) => brokenBy is null
        ? Done
        : new ActionResult(
            AuditOutcome.Refused,
            $"refused, because the session is broken: {brokenBy}",
            new BlockException(BlockErrors.Broken, $"The session is broken: {brokenBy}"));
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

    /// <summary>What happened in the host itself.</summary>
    /// <param name="action">The action.</param>
    /// <param name="outcome">How it ended.</param>
    /// <param name="error">Why; null for none.</param>
    public static AuditEntry OfHost(AuditedAction action, AuditOutcome outcome, BlockException? error = null) =>
        Of(action, outcome, error, OwnUser.Name, OwnUser.Id, Environment.ProcessId);

    /// <summary>An action that ends now.</summary>
    /// <param name="action">The action.</param>
    /// <param name="outcome">How it ended.</param>
    /// <param name="error">Why; null for none.</param>
    /// <param name="user">As <see cref="User"/>.</param>
    /// <param name="userId">As <see cref="UserId"/>.</param>
    /// <param name="processId">As <see cref="ProcessId"/>.</param>
    public static AuditEntry Of(
        AuditedAction action, AuditOutcome outcome, Exception? error, string user, uint userId, int processId) => new()
        {
            Time = DateTimeOffset.UtcNow,
            Action = action.Name,
            Outcome = outcome,
            User = user,
            UserId = userId,
            ProcessId = processId,
            Targets = action.Targets,
            Text = action.Text,
            ErrorKind = (error as BlockException)?.Kind ?? error?.GetType().Name,
            Error = error?.Message,
        };

    /// <summary>As JSON in UTF-8, without a line end.</summary>
    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, Options);

    private static class OwnUser
    {
        public static readonly uint Id = OperatingSystem.IsLinux() ? SystemUsers.Current : 0;
        public static readonly string Name = OperatingSystem.IsLinux() ? SystemUsers.NameOf(Id) : Environment.UserName;
    }
}
