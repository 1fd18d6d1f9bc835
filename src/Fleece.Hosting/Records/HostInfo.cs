// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;

namespace Fleece.Hosting.Records;

/// <summary>The process that owns the disks which cmdlets see: a host, or this process.</summary>
public sealed record HostInfo
{
    /// <summary>The control socket; null for this process.</summary>
    public string? SocketPath { get; init; }

    /// <summary>True when the disks are this process's own and end with it.</summary>
    public bool IsThisProcess { get; init; }

    /// <summary>The process.</summary>
    public int ProcessId { get; init; }

    /// <summary>The user that it runs as, by name; by number where the system has none.</summary>
    public string User { get; init; } = string.Empty;

    /// <summary>The module's version in it.</summary>
    public string Version { get; init; } = string.Empty;

    /// <summary>The version of the protocol that it and this client speak; 0 for this process.</summary>
    public int ProtocolVersion { get; init; }

    /// <summary>When it started.</summary>
    public DateTimeOffset StartedAt { get; init; }

    /// <summary>How long it has run.</summary>
    public TimeSpan Uptime { get; init; }

    /// <summary>Mounted disks.</summary>
    public int DiskCount { get; init; }

    /// <summary>Running sessions.</summary>
    public int SessionCount { get; init; }

    /// <summary>Connected shells and jobs.</summary>
    public int ClientCount { get; init; }

    /// <summary>Memory that the process holds, in bytes.</summary>
    public long WorkingSetBytes { get; init; }

    /// <summary>Where it keeps its state; null for this process.</summary>
    public string? StatePath { get; init; }

    /// <summary>Disks that it is to serve and does not, each with the reason; whole sentences.</summary>
    public IReadOnlyList<string> Problems { get; init => field = RecordList<string>.Of(value); } = RecordList<string>.Empty;

    /// <summary>The socket, or "this process".</summary>
    public override string ToString() => SocketPath ?? "this process";
}
