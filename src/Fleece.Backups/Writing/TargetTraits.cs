// SPDX-License-Identifier: MIT
using Fleece.Images;

namespace Fleece.Backups.Writing;

/// <summary>What the writer of a backup has to know of its target.</summary>
internal sealed record TargetTraits
{
    /// <summary>What messages and the finished backup call it.</summary>
    public required string Destination { get; init; }

    /// <summary>The format of the file; null for an export.</summary>
    public ImageFormat? Format { get; init; }

    /// <summary>True when it reads as zeros where nothing was written.</summary>
    public bool ReadsAsZero { get; init; }

    /// <summary>
    /// True when the target can lose what it has acknowledged while this process and its sessions live on, as a server can: chunks are
    /// then confirmed when they are durable. A machine that goes down with its files takes the sessions with it.
    /// </summary>
    public bool ConfirmsWhenDurable { get; init; }

    /// <summary>True when nothing else has what the target holds, and it is no backup before it has its name: all chunks are confirmed
    /// then, and none before.</summary>
    public bool ConfirmsWhenNamed { get; init; }

    /// <summary>True when it takes a disk from its start to its end alone.</summary>
    public bool NeedsOrder { get; init; }

    /// <summary>How many writes at a time serve it best.</summary>
    public required int WritesAtOnce { get; init; }

    /// <summary>True when it keeps what it holds in a manifest.</summary>
    public bool KeepsManifest { get; init; }

    /// <summary>True when it is read back, and compared with what went in, before it counts as a backup.</summary>
    public bool MustVerify { get; init; }

    /// <summary>True when it must be told what was written.</summary>
    public bool NeedsContent => KeepsManifest || MustVerify;
}
