// SPDX-License-Identifier: MIT
namespace Fleece.Images.Qcow2.Foundation;

/// <summary>The stages in which a replay writes the notes of an image's journal, each durable before the next.</summary>
/// <remarks>They keep what the stages of a write-back keep: nothing on disk leads to a cluster before it is counted. New L2 tables need no
/// stage of their own, because their clusters read as zeros on disk by then.</remarks>
internal static class NoteStages
{
    /// <summary>Refcounts.</summary>
    public const int Refcounts = 0;

    /// <summary>Entries of the refcount table.</summary>
    public const int RefcountTable = 1;

    /// <summary>L1 and L2 entries.</summary>
    public const int Mappings = 2;

    public const int Count = 3;
}
