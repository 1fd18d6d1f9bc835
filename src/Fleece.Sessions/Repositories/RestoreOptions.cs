// SPDX-License-Identifier: MIT
using Fleece.Images;

namespace Fleece.Sessions.Repositories;

/// <summary>What a point is restored to.</summary>
public sealed record RestoreOptions
{
    /// <summary>The new image's file. It appears under this name only when it is complete.</summary>
    public required string DestinationPath { get; init; }

    /// <summary>What the file is to be, apart from its size.</summary>
    public required ImageCreateOptions Image { get; init; }

    /// <summary>True to replace an existing file.</summary>
    public bool Overwrite { get; init; }

    /// <summary>First byte of the disk to restore; it becomes the first of the file.</summary>
    public long OffsetBytes { get; init; }

    /// <summary>Number of bytes from there; null for the rest of the disk.</summary>
    public long? LengthBytes { get; init; }
}
