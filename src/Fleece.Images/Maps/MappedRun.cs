// SPDX-License-Identifier: MIT
namespace Fleece.Images.Maps;

/// <summary>Where the bytes of a run come from.</summary>
internal enum RunKind
{
    /// <summary>From the file that holds data.</summary>
    Data,

    /// <summary>From the file, in a form that only the map can read, such as compressed.</summary>
    Packed,

    /// <summary>From nowhere: the image says that they are zeros.</summary>
    Zero,

    /// <summary>From nowhere: the image stores none, no parent shows through, and they read as zeros.</summary>
    Unallocated,

    /// <summary>From the parent; zeros where the image has none.</summary>
    Parent,
}

/// <summary>A run of the disk with one kind of mapping.</summary>
/// <param name="Kind">Where its bytes come from.</param>
/// <param name="LengthBytes">At least 1.</param>
/// <param name="FileOffsetBytes">For data: where its first byte is in the file that holds data.</param>
/// <param name="IsWritable">For data: new bytes may go to the same place, and nothing else has to change for them.</param>
/// <param name="Entry">For packed data: the table entry, which only the map understands.</param>
internal readonly record struct MappedRun(
    RunKind Kind, long LengthBytes, long FileOffsetBytes = 0, bool IsWritable = false, ulong Entry = 0);
