// SPDX-License-Identifier: MIT
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Control;
using Fleece.Hosting.Logging;
using Fleece.Hosting.Paths;
using Fleece.Hosting.Records;

namespace Fleece.Hosting.Host;

/// <summary>What all connections of a host share.</summary>
internal sealed record HostParts
{
    /// <summary>The module's version.</summary>
    public static string ModuleVersion { get; } = typeof(HostParts).Assembly.GetName().Version!.ToString(3);

    /// <summary>The host's disks.</summary>
    public required ServedDisks Disks { get; init; }

    /// <summary>The guests that it has, or had, sessions of.</summary>
    public required NotedGuests Guests { get; init; }

    /// <summary>What clients began.</summary>
    public required Leases Leases { get; init; }

    /// <summary>The requests that run now.</summary>
    public required RunningRequests Requests { get; init; }

    /// <summary>Where files may lie.</summary>
    public required PathRules Rules { get; init; }

    /// <summary>Which users may use the host.</summary>
    public required HostAccess Access { get; init; }

    /// <summary>The host's log.</summary>
    public required HostLog Log { get; init; }

    /// <summary>The audit trail.</summary>
    public required AuditTrail Trail { get; init; }

    /// <summary>The control socket.</summary>
    public required string SocketPath { get; init; }

    /// <summary>The state directory.</summary>
    public required string StatePath { get; init; }

    /// <summary>Where clients read and write bytes.</summary>
    public required PrivateSockets PrivateSockets { get; init; }

    /// <summary>Counts the clients that are connected now.</summary>
    public Func<int> CountClients { get; set; } = () => 0;

    /// <summary>The host's process; another one after a restart.</summary>
    public Guid HostId { get; } = Guid.NewGuid();

    /// <summary>When the host started.</summary>
    public DateTimeOffset StartedAt { get; } = DateTimeOffset.UtcNow;

    /// <summary>The host as it is now.</summary>
    public HostInfo Describe() => new()
    {
        SocketPath = SocketPath,
        ProcessId = Environment.ProcessId,
        User = SystemUsers.NameOf(SystemUsers.Current),
        Version = ModuleVersion,
        ProtocolVersion = HostProtocol.Version,
        StartedAt = StartedAt,
        Uptime = DateTimeOffset.UtcNow - StartedAt,
        DiskCount = Disks.Owner.Mounted.All.Count,
        SessionCount = Disks.Owner.Running.All.Count,
        ClientCount = CountClients(),
        WorkingSetBytes = Environment.WorkingSet,
        StatePath = StatePath,
        Problems = Disks.Problems,
    };
}
