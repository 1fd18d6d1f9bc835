// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Nbd.Client.Extents;

/// <summary>The extents of one reply to a status query, for each context.</summary>
/// <remarks>Threading. The connection's reader fills it; it does not change once its request has completed.</remarks>
internal sealed class StatusReply(BlockRange asked)
{
    /// <summary>What the query asked about.</summary>
    public BlockRange Asked => asked;

    /// <summary>Extents of <c>base:allocation</c>; null until its chunk comes.</summary>
    public ExtentRuns? Allocation { get; private set; }

    /// <summary>Extents of <c>fleece:access</c>; null until its chunk comes.</summary>
    public ExtentRuns? Access { get; private set; }

    /// <summary>Extents of the context of <see cref="NbdNodeOptions.DirtyBitmap"/>; null until its chunk comes.</summary>
    public ExtentRuns? Dirty { get; private set; }

    /// <summary>Begins the list of a context; null when the export has no such context or its list has come before.</summary>
    public ExtentRuns? Begin(AgreedExport export, uint context)
    {
        if (context == export.AllocationContext && Allocation is null)
        {
            return Allocation = new ExtentRuns(asked);
        }

        if (context == export.AccessContext && Access is null)
        {
            return Access = new ExtentRuns(asked);
        }

        return context == export.DirtyContext && Dirty is null
            ? Dirty = new ExtentRuns(asked)
            : null;
    }

    /// <summary>True when each context of the export has its list.</summary>
    public bool IsComplete(AgreedExport export) =>
        export.AllocationContext.HasValue == Allocation is not null && export.AccessContext.HasValue == Access is not null &&
        export.DirtyContext.HasValue == Dirty is not null;

    public void Clear()
    {
        Allocation = null;
        Access = null;
        Dirty = null;
    }
}
