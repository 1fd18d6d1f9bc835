// SPDX-License-Identifier: MIT
namespace Fleece.Qemu.Graph;

/// <summary>The last part of the names of what a session adds for each of its disks.</summary>
internal static class Parts
{
    /// <summary>The node over the file with old data. It is added first and deleted last.</summary>
    public const string Temp = "temp";

    /// <summary>The copy-before-write filter.</summary>
    public const string Filter = "cbw";

    /// <summary>The job that brings a filter, where no device can be given one.</summary>
    public const string Job = "job";

    /// <summary>The snapshot-access node.</summary>
    public const string Snapshot = "snap";

    /// <summary>The export of the snapshot.</summary>
    public const string Export = "export";
}

/// <summary>A node, job or export of a session.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Session">The session's part of it.</param>
/// <param name="DiskIndex">The disk in the session.</param>
/// <param name="Kind">The last part.</param>
/// <param name="FilePath">The node's file; null for none.</param>
internal sealed record Part(string Name, string Session, int DiskIndex, string Kind, string? FilePath)
{
    /// <summary>Takes a name apart; null for a name that is not Fleece's.</summary>
    public static Part? Of(string name, string? filePath) =>
        NodeNames.TryParse(name, out string? session, out int diskIndex, out string? part)
            ? new Part(name, session, diskIndex, part, filePath)
            : null;

    /// <summary>The name of another part of the same disk.</summary>
    public string Sibling(string kind) => Name[..^Kind.Length] + kind;
}
