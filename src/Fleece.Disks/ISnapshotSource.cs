// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Disks;

/// <summary>A point in time that can be read: a session of this process, or a snapshot that a server exports.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal interface ISnapshotSource
{
    /// <summary>What messages call it: "DISK/NAME" or a URI.</summary>
    string Id { get; }

    /// <summary>Where the disk's bytes come from: full path of the image, or URI of the export.</summary>
    string Address { get; }

    /// <summary>Which of the session's consumers reads it; null for none that is counted.</summary>
    string? Consumer { get; }

    /// <summary>Size of the disk in bytes.</summary>
    long SizeBytes { get; }

    /// <summary>The instant it shows; null where the server does not tell.</summary>
    DateTimeOffset? Instant { get; }

    /// <summary>What a repository knows it by; null where the server does not tell.</summary>
    SnapshotIdentity? Identity { get; }

    /// <summary>Ranges that are cut at multiples of this are consumed without a rest.</summary>
    int GranuleSizeBytes { get; }

    /// <summary>How many reads at a time serve it best.</summary>
    int ReadsAtOnce { get; }

    /// <summary>Reads, status and discards.</summary>
    BlockDevice Snapshot { get; }

    /// <summary>What whoever works with the snapshot has to be told and nobody has been told yet; null for nothing.</summary>
    string? TakeWarning();

    /// <summary>The first readable range at or behind an offset, before an end; empty when there is none.</summary>
    ValueTask<BlockRange> FindReadableAsync(long offsetBytes, long endBytes, CancellationToken cancellationToken);
}
