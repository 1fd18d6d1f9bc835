// SPDX-License-Identifier: MIT
using Fleece.Hosting.Records;

namespace Fleece.Hosting.Control;

/// <summary>Requests about the host itself, and for the private sockets over which bytes of disks go.</summary>
/// <inheritdoc cref="IDiskControl" path="/remarks"/>
internal interface IHostControl
{
    /// <summary>The first request of each connection; all others are refused before it.</summary>
    ValueTask<HostWelcome> HelloAsync(ClientHello hello, CancellationToken cancellationToken);

    /// <summary>The host as it is now.</summary>
    ValueTask<HostInfo> GetHostInfoAsync(CancellationToken cancellationToken);

    /// <summary>Offers a snapshot on the connection's private socket.</summary>
    ValueTask<SnapshotChannel> OpenSnapshotChannelAsync(SessionReference? session, bool discards, CancellationToken cancellationToken);

    /// <summary>Offers a disk on the connection's private socket.</summary>
    ValueTask<DiskChannel> OpenDiskChannelAsync(DiskReference disk, CancellationToken cancellationToken);
}

/// <summary>What a client says of itself.</summary>
/// <param name="ProtocolVersion">The newest version of the protocol that it speaks.</param>
/// <param name="OldestProtocolVersion">The oldest one.</param>
/// <param name="ModuleVersion">The module's version.</param>
/// <param name="ProcessId">The process.</param>
/// <param name="LeaseToken">The token of an earlier connection whose lease it takes up again; null for a new lease.</param>
internal sealed record ClientHello(
    int ProtocolVersion, int OldestProtocolVersion, string ModuleVersion, int ProcessId, string? LeaseToken);

/// <summary>What the host answers.</summary>
/// <param name="ProtocolVersion">The version of the protocol that both speak.</param>
/// <param name="ModuleVersion">The host's version.</param>
/// <param name="LeaseToken">The connection's lease; a secret of 128 bits.</param>
/// <param name="IsResumed">True when the client's earlier lease is taken up again, with all that it holds.</param>
/// <param name="HostId">The host's process; another one after a restart.</param>
internal sealed record HostWelcome(int ProtocolVersion, string ModuleVersion, string LeaseToken, bool IsResumed, Guid HostId);

/// <summary>A snapshot on a private socket.</summary>
/// <param name="Uri">The NBD URI.</param>
/// <param name="Id">"DISK/NAME".</param>
/// <param name="Address">Where the disk's bytes come from: the image's path, or an export's URI.</param>
/// <param name="Consumer">The consumer whose view it is; null for none.</param>
/// <param name="GranuleSizeBytes">The session's granule.</param>
/// <param name="HasTempLimit">True where the session has a limit for temp, whose nearness its readers are to be told.</param>
internal sealed record SnapshotChannel(
    string Uri, string Id, string Address, string? Consumer, int GranuleSizeBytes, bool HasTempLimit);

/// <summary>A disk on a private socket.</summary>
/// <param name="Uri">The NBD URI.</param>
/// <param name="Name">The disk's name.</param>
internal sealed record DiskChannel(string Uri, string Name);
