// SPDX-License-Identifier: MIT
namespace Fleece.Images.Tests.Crashes;

/// <summary>A fault for each step of each format's order of writes, and some that are none of order.</summary>
internal static class PlantedFaults
{
    private const string Qcow2 = "qcow2, refcounts of 64 bits";
    private const string Vhd = "VHD over a parent";
    private const string Vhdx = "VHDX over a parent";

    /// <summary>All of them.</summary>
    public static IReadOnlyList<PlantedFault> All { get; } =
    [
        // qcow2: refcounts and new L2 tables; the refcount table; L2 and L1 entries.
        new("qcow2: no flush between refcount blocks and the refcount table", Qcow2)
        {
            SwallowsFlush = (_, next) => next == FileRegion.RefcountTable,
        },
        new("qcow2: no flush between refcounts and L2 or L1 entries", "qcow2")
        {
            SwallowsFlush = (before, next) => next == FileRegion.Mapping && !before.Contains(FileRegion.RefcountTable),
        },
        new("qcow2: no flush between the refcount table and L2 or L1 entries", Qcow2)
        {
            SwallowsFlush = (before, next) => next == FileRegion.Mapping && before.Contains(FileRegion.RefcountTable),
        },
        new("qcow2: no flush after L2 and L1 entries", "qcow2")
        {
            SwallowsFlush = (before, _) => before.Contains(FileRegion.Mapping),
        },
        new("qcow2: no flush between a moved refcount table and the header", Qcow2)
        {
            SwallowsFlush = (_, next) => next == FileRegion.Header,
            MovesTable = true,
        },
        new("qcow2: refcount blocks are not written", "qcow2") { Drops = FileRegion.RefcountBlock },
        new("qcow2: older L2 and L1 entries are written once more", "qcow2") { Repeats = FileRegion.Mapping },
        new("qcow2: older refcounts are written once more", "qcow2") { Repeats = FileRegion.RefcountBlock },

        // VHD: the footer at the new end; data and bitmaps of new blocks; the other bitmaps and the table.
        new("VHD: no flush between the footer at the new end and the place of the old one", Vhd)
        {
            SwallowsFlush = (before, next) => before.Contains(FileRegion.Footer) && next != FileRegion.Length,
        },
        new("VHD: no flush between the bitmaps of new blocks and the table", Vhd)
        {
            SwallowsFlush = (_, next) => next == FileRegion.BlockTable,
        },
        new("VHD: no flush between data and the bitmaps of blocks that the table knows", Vhd)
        {
            SwallowsFlush = (_, next) => next == FileRegion.SectorBitmap,
        },
        new("VHD: no flush after bitmaps and the table", Vhd)
        {
            SwallowsFlush = (before, _) => before.Contains(FileRegion.SectorBitmap) || before.Contains(FileRegion.BlockTable),
        },
        new("VHD: no flush between the footer at its last place and the shorter file", Vhd)
        {
            SwallowsFlush = (_, next) => next == FileRegion.Length,
        },
        new("VHD: the length of the file stays", Vhd) { Drops = FileRegion.Length },
        new("VHD: space of a crash is not zeroed", Vhd) { Drops = FileRegion.Zeros, GoesOn = true },
        new("VHD: older bitmaps are written once more", Vhd) { Repeats = FileRegion.SectorBitmap },

        // VHDX: data; the log entry; the header's log_guid; the pages in their places.
        new("VHDX: no flush between data and the log entry", Vhdx)
        {
            SwallowsFlush = (_, next) => next == FileRegion.Log,
        },
        new("VHDX: no flush between the log entry and the header's log_guid", Vhdx)
        {
            SwallowsFlush = (before, next) => before.Contains(FileRegion.Log) && next == FileRegion.Header,
            GoesOn = true,
        },
        new("VHDX: no flush between the header's log_guid and pages in place", Vhdx)
        {
            SwallowsFlush = (before, next) => before.Contains(FileRegion.Header) && next != FileRegion.Length,
            GoesOn = true,
        },
        new("VHDX: no flush between the log entry and pages in place", Vhdx)
        {
            SwallowsFlush = (before, next) => before.Contains(FileRegion.Log) && next != FileRegion.Header,
        },
        new("VHDX: no flush between pages in place and the header without a log", Vhdx)
        {
            SwallowsFlush = (before, next) => !before.Contains(FileRegion.Log) && next == FileRegion.Header,
        },
        new("VHDX: the length of the file stays", Vhdx) { Drops = FileRegion.Length },
        new("VHDX: log entries are not written", Vhdx) { Drops = FileRegion.Log },
        new("VHDX: older tables are written once more", Vhdx) { Repeats = FileRegion.BlockTable },
    ];
}
