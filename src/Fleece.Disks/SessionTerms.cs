// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.Disks.Resuming;
using Fleece.Disks.Temp;

namespace Fleece.Disks;

/// <summary>The part of a session that stays the same, whichever process goes on with it.</summary>
internal sealed record SessionTerms
{
    /// <summary>The session's name, unique on its disk.</summary>
    public required string Name { get; init; }

    /// <summary>The identity of the instant.</summary>
    public required Guid InstantId { get; init; }

    /// <summary>True when the snapshot shows ranges that the user has named.</summary>
    public required bool HasRanges { get; init; }

    /// <summary>Its log and marker, for a later process; null for nothing.</summary>
    public KeptSession? Kept { get; init; }

    /// <summary>Why it ends with this process, as a sentence; null when it does not.</summary>
    public string? CannotResumeReason { get; init; }

    /// <summary>Why a session ends with its process, as a sentence; null when a later one can go on with it.</summary>
    /// <param name="disk">Its disk.</param>
    /// <param name="folder">Where its log would be kept; null for nowhere.</param>
    /// <param name="temp">Its temp image.</param>
    public static string? FindKeepFault(Disk disk, SessionFolder? folder, TempImage temp) =>
        folder is null ? "It is a job's, or was started without -StatePath, so no folder keeps its log."
        : disk.Storage.IsExport ? $"The disk '{disk.Name}' lies on an export, beside which nothing can be kept."
        : disk.IsShared ? $"The disk '{disk.Name}' is shared, and others may change it between two processes."
        : disk.IsReadOnly ? $"The disk '{disk.Name}' is mounted read-only, and nothing is written beside its image."
        : BootId.Current == Guid.Empty ? "The system does not tell whether it was started anew, so no later process could trust the log."
        : disk.Storage.JournalWarning is { } warning ? warning
        : disk.Storage.JournalFault is { } fault ? $"The end of the process may lose what the image's tables say: {fault}"
        : temp.KeepFault;
}
