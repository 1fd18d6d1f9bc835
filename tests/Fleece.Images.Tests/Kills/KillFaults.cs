// SPDX-License-Identifier: MIT
using Fleece.Images.Tests.Crashes;

namespace Fleece.Images.Tests.Kills;

/// <summary>A fault for each place that notes its changes, for the turns of the regions, and for the order of a replay.</summary>
internal static class KillFaults
{
    private const string Qcow2 = "qcow2, refcounts of 64 bits";
    private const string Vhd = "VHD over a parent";
    private const string Vhdx = "VHDX over a parent";

    /// <summary>All of them.</summary>
    public static IReadOnlyList<KillFault> All { get; } =
    [
        new("qcow2: refcounts are not noted", Qcow2) { LeavesOut = (_, stage, _) => stage == 0 },
        new("qcow2: entries of the refcount table are not noted", Qcow2) { LeavesOut = (_, stage, _) => stage == 1 },
        new("qcow2: L1 entries are not noted", Qcow2) { LeavesOut = (image, stage, place) => stage == 2 && IsInL1(image, place) },
        new("qcow2: L2 entries are not noted", Qcow2) { LeavesOut = (image, stage, place) => stage == 2 && !IsInL1(image, place) },
        new("qcow2: the notes of a write-back are forgotten when it begins", Qcow2) { EmptiesEarly = true },
        new("qcow2: a replay writes mappings before refcounts", Qcow2) { TurnsStages = true },
        new("qcow2: a replay flushes nothing", Qcow2) { SwallowsFlushes = true },
        new("VHD: table entries are not noted", Vhd) { LeavesOut = (image, _, place) => IsInTable(ImageFormat.Vhd, image, place) },
        new("VHD: bitmaps are not noted", Vhd) { LeavesOut = (image, _, place) => !IsInTable(ImageFormat.Vhd, image, place) },
        new("VHD: the notes of a write-back are forgotten when it begins", Vhd) { EmptiesEarly = true },
        new("VHD: a replay flushes nothing", Vhd) { SwallowsFlushes = true },
        new("VHDX: BAT entries are not noted", Vhdx) { LeavesOut = (image, _, place) => IsInTable(ImageFormat.Vhdx, image, place) },
        new("VHDX: bitmaps are not noted", Vhdx) { LeavesOut = (image, _, place) => !IsInTable(ImageFormat.Vhdx, image, place) },
        new("VHDX: the notes of a write-back are forgotten when it begins", Vhdx) { EmptiesEarly = true },
        new("VHDX: a replay flushes nothing", Vhdx) { SwallowsFlushes = true },
    ];

    private static bool IsInTable(ImageFormat format, byte[] image, long place) =>
        FileRegions.Find(format, image, place, []) == FileRegion.BlockTable;

    // One cluster of the small images.
    private static bool IsInL1(byte[] image, long place)
    {
        long l1OffsetBytes = System.Buffers.Binary.BinaryPrimitives.ReadInt64BigEndian(image.AsSpan(40));
        int entries = System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(image.AsSpan(36));
        return place >= l1OffsetBytes && place < l1OffsetBytes + (entries * sizeof(ulong));
    }
}
