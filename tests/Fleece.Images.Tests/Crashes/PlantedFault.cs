// SPDX-License-Identifier: MIT
namespace Fleece.Images.Tests.Crashes;

/// <summary>A file that does not do what it says, for a run that must find it.</summary>
/// <param name="Name">Unique; test runners show it.</param>
/// <param name="Row">The name of the row it is planted in.</param>
internal sealed record PlantedFault(string Name, string Row)
{
    /// <summary>True for a flush that does nothing, by the regions that were changed since the flush before, and the region that is changed
    /// next; null when that flush is the last of a request.</summary>
    public Func<IReadOnlySet<FileRegion>, FileRegion?, bool>? SwallowsFlush { get; init; }

    /// <summary>Changes of this region do nothing.</summary>
    public FileRegion? Drops { get; init; }

    /// <summary>A write of this region is done again after the flush that follows on a later write of the same place.</summary>
    public FileRegion? Repeats { get; init; }

    /// <summary>True when the run goes on after crashes with what they have left.</summary>
    public bool GoesOn { get; init; }

    /// <summary>True when the run makes the refcount table of a qcow2 image move.</summary>
    public bool MovesTable { get; init; }

    public override string ToString() => Name;
}
