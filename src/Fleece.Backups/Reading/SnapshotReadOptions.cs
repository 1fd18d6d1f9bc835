// SPDX-License-Identifier: MIT
namespace Fleece.Backups.Reading;

/// <summary>What to read of a snapshot, and how.</summary>
internal sealed record SnapshotReadOptions
{
    /// <summary>Default size of a chunk: large enough to make a system call's cost vanish, small enough for the cache.</summary>
    public const int DefaultChunkSizeBytes = 1024 * 1024;

    /// <summary>Smallest chunk size.</summary>
    public const int MinimumChunkSizeBytes = 64 * 1024;

    /// <summary>Largest chunk size.</summary>
    public const int MaximumChunkSizeBytes = 64 * 1024 * 1024;

    /// <summary>First byte to read.</summary>
    public long OffsetBytes { get; init; }

    /// <summary>Number of bytes from there; null for the rest of the disk.</summary>
    public long? LengthBytes { get; init; }

    /// <summary>64 KiB to 64 MiB, a power of two, at least the session's granule.</summary>
    public int ChunkSizeBytes { get; init; } = DefaultChunkSizeBytes;

    /// <summary>True to discard each chunk from the snapshot when its consumer disposes it.</summary>
    public bool DiscardConsumed { get; init; }

    /// <summary>The order of the chunks. All but the sequential one need a source that knows where its guest writes.</summary>
    public SnapshotReadOrder Order { get; init; }
}
