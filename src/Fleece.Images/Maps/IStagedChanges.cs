// SPDX-License-Identifier: MIT
using Fleece.Images.Container;

namespace Fleece.Images.Maps;

/// <summary>Changed metadata in memory, as <see cref="StagedWriteBack"/> takes it to the disk.</summary>
internal interface IStagedChanges
{
    /// <summary>The metadata lock. Short: look-ups and changes, loading a table, growing the file; never held across the guest's own
    /// I/O.</summary>
    Lock Sync { get; }

    /// <summary>Gets the first failure of a write-back.</summary>
    Poison Poison { get; }

    /// <summary>True once the image was changed.</summary>
    bool HasChanged { get; }

    /// <summary>Copies all changes of this moment. Under <see cref="Sync"/>.</summary>
    void Capture(StagedWrites writes);

    /// <summary>Hears that what was captured is on the disk. Under <see cref="Sync"/>.</summary>
    void EndWriteBack();

    /// <summary>Makes places free that the disk has forgotten.</summary>
    void Reclaim();

    /// <summary>Leaves the file as a clean image, with nothing grown in advance, after the last write-back. No request may run.</summary>
    void Finish();
}
