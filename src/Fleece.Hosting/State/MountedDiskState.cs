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

    /// <summary>The disk's name.</summary>
    [JsonIgnore]
    public string Name => Mount.Name!;
}
