// SPDX-License-Identifier: MIT
using System.Text.Json.Serialization;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.State;

/// <summary>A disk that a host mounts again when it starts.</summary>
/// <remarks>Its properties, and those of its types, are fields of state.json: one that is added, renamed or removed is a new
/// <see cref="StateFormat.Version"/>.</remarks>
internal sealed record MountedDiskState
{
    /// <summary>How it was mounted, with the name that it got.</summary>
    public required MountRequest Mount { get; init; }

    /// <summary>Its image when the host last looked; null for an export of another server, and where the file could not be looked at.
    /// </summary>
    public ImageTrace? Image { get; init; }

    /// <summary>The run of the system (<see cref="Fleece.Block.Files.BootId"/>) in which guests may have written what no flush followed:
    /// that in which a host serves the disk, or served it when it was killed. Empty where an older Fleece did not say which; null after an
    /// orderly end, and for a disk that guests can't write to.</summary>
    public Guid? ServedInBoot { get; init; }

    /// <summary>The run of the system in which writes that guests were answered may have gone with a process: that in which a host serves
    /// an image with tables and no journal of them, or in which a journal did not hold, or the system could not store the image. An earlier
    /// run than this one is one that has ended while the disk was served. Empty where an older Fleece did not say which; null where a
    /// killed host loses nothing, and when a guest has been told.</summary>
    public Guid? UnjournaledInBoot { get; init; }

    /// <summary>The disk's name.</summary>
    [JsonIgnore]
    public string Name => Mount.Name!;
}
