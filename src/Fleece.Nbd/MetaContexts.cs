// SPDX-License-Identifier: MIT
#pragma warning disable CA1008, CA1028 // The members and their widths are the protocol's.
namespace Fleece.Nbd;

/// <summary>The names of the metadata contexts that server and client both know.</summary>
internal static class MetaContexts
{
    /// <summary>What is stored and what reads as zeros (<see cref="AllocationFlags"/>). Source: NBD protocol, "base:allocation metadata
    /// context".</summary>
    public const string BaseAllocation = "base:allocation";

    /// <summary>Which image of a chain stores a range: 1 the image itself, 2 its parent, and so on, 0 none. Source: QEMU's
    /// docs/interop/nbd.rst, "qemu:allocation-depth".</summary>
    public const string QemuAllocationDepth = "qemu:allocation-depth";

    /// <summary>What of a snapshot can be read (<see cref="AccessFlags"/>). Fleece's own; docs/nbd.md describes it.</summary>
    public const string FleeceAccess = "fleece:access";

    /// <summary>Begins the names in which a server tells of what an export is; KEY=VALUE follows. They are listed for this query alone and
    /// can't be chosen. Fleece's own; docs/nbd.md describes it.</summary>
    public const string FleeceIdentity = "fleece:identity:";

    /// <summary>Begins the name of a dirty bitmap's context (<see cref="DirtyFlags"/>); the bitmap's name follows. Source: QEMU's
    /// docs/interop/nbd.rst, "qemu:dirty-bitmap".</summary>
    public const string QemuDirtyBitmap = "qemu:dirty-bitmap:";
}

/// <summary>Flags of a run in a context of <see cref="MetaContexts.QemuDirtyBitmap"/>. Source: as there.</summary>
[Flags]
internal enum DirtyFlags : uint
{
    /// <summary>Not changed.</summary>
    None = 0,

    /// <summary>It may have changed.</summary>
    Dirty = 1 << 0,
}

/// <summary>Flags of a run in <see cref="MetaContexts.BaseAllocation"/>. Source: as there.</summary>
[Flags]
internal enum AllocationFlags : uint
{
    /// <summary>Data.</summary>
    None = 0,

    /// <summary>Nothing is stored here.</summary>
    Hole = 1 << 0,

    /// <summary>It reads as zeros.</summary>
    Zero = 1 << 1,
}

/// <summary>Flags of a run in <see cref="MetaContexts.FleeceAccess"/>.</summary>
[Flags]
internal enum AccessFlags : uint
{
    /// <summary>It can be read.</summary>
    None = 0,

    /// <summary>Refused: the session was limited to other ranges when it started.</summary>
    Denied = 1 << 0,

    /// <summary>Refused: it was read, confirmed and discarded.</summary>
    Consumed = 1 << 1,
}
