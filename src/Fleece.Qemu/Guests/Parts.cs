// SPDX-License-Identifier: MIT
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Guests;

/// <summary>The last part of the names of what a session adds, for each of its disks or for its first one.</summary>
internal static class Parts
{
    /// <summary>The node over the file with old data. It is added first and deleted last.</summary>
    public const string Temp = "temp";

    /// <summary>The copy-before-write filter.</summary>
    public const string Filter = "cbw";

    /// <summary>The job that brings a filter, where no device can be given one.</summary>
    public const string Job = "job";

    /// <summary>The job that takes a filter out from under an overlay.</summary>
    public const string Stream = "out";

    /// <summary>The snapshot-access node.</summary>
    public const string Snapshot = "snap";

    /// <summary>The export of the snapshot.</summary>
    public const string Export = "export";

    /// <summary>The export of the empty temp node, by which the address of a server is tried.</summary>
    public const string Probe = "probe";

    /// <summary>The marker that says that the session has stopped the guest.</summary>
    public const string Paused = "paused";

    /// <summary>The marker that says that the session has frozen the guest's file systems.</summary>
    public const string Frozen = "frozen";

    /// <summary>The marker of the NBD server, over a file in the folder of its socket.</summary>
    public const string Server = "server";

    /// <summary>The end of the name of that file.</summary>
    public const string MarkerExtension = ".marker";

    /// <summary>The driver of a part that is a node; null for the others.</summary>
    public static string? DriverOf(string part) => part switch
    {
        Temp => "raw",
        Filter => "copy-before-write",
        Snapshot => "snapshot-access",
        Paused or Frozen => "null-co",
        Server => "file",
        _ => null,
    };
}

/// <summary>A node, job or export of a session.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Session">The session's part of it.</param>
/// <param name="DiskIndex">The disk in the session.</param>
/// <param name="Kind">The last part.</param>
/// <param name="FilePath">The node's file; null for none.</param>
internal sealed record Part(string Name, string Session, int DiskIndex, string Kind, string? FilePath)
{
    /// <summary>A node of a session; null for one of others. A user's node may have such a name too, but hardly the driver as well.
    /// </summary>
    public static Part? Of(QemuNodeReply node) =>
        Of(node.Name, node.FilePath) is { } part && Parts.DriverOf(part.Kind) == node.Driver &&
        (part.Kind != Parts.Server || node.FilePath?.EndsWith(Parts.MarkerExtension, StringComparison.Ordinal) == true) ? part : null;

    /// <summary>An export of a session; null for one of others.</summary>
    public static Part? Of(QemuExportReply export) =>
        Of(export.Id, null) is { } part && export.Type == "nbd" &&
        (part.Kind == Parts.Export ? export.NodeName == part.Sibling(Parts.Snapshot)
            : part.Kind == Parts.Probe && export.NodeName == part.Sibling(Parts.Temp)) ? part : null;

    /// <summary>The name of another part of the same disk.</summary>
    public string Sibling(string kind) => Name[..^Kind.Length] + kind;

    private static Part? Of(string name, string? filePath) =>
        NodeNames.TryParse(name, out string? session, out int diskIndex, out string? part)
            ? new Part(name, session, diskIndex, part, filePath)
            : null;
}
