// SPDX-License-Identifier: MIT
namespace Fleece.Images.Vhdx.Structures;

/// <summary>Bounds on what a file may make this driver allocate or walk (rule R5), and its own budgets.</summary>
internal static class VhdxLimits
{
    /// <summary>Smallest block (section 2.6.2.1).</summary>
    public const int MinBlockBytes = 1024 * 1024;

    /// <summary>Largest block (section 2.6.2.1).</summary>
    public const int MaxBlockBytes = 256 * 1024 * 1024;

    /// <summary>Block of new fixed and dynamic images, as Hyper-V makes them.</summary>
    public const int DefaultBlockBytes = 32 * 1024 * 1024;

    /// <summary>Block of new differencing images, as Hyper-V makes them.</summary>
    public const int DefaultDifferencingBlockBytes = 2 * 1024 * 1024;

    /// <summary>Largest disk (section 2.6.2.2).</summary>
    public const long MaxDiskBytes = 64L << 40;

    /// <summary>Offsets in the file beyond this are damage: twice the largest disk.</summary>
    public const long MaxFileBytes = 128L << 40;

    /// <summary>Largest log that is looked at; others write 1 MiB for each TiB.</summary>
    public const long MaxLogBytes = 256 * VhdxFormat.MiB;

    /// <summary>Length of the log of new images.</summary>
    public const int NewLogBytes = 1024 * 1024;

    /// <summary>Longest log entry that is written: it is made under the metadata lock.</summary>
    public const long MaxNewEntryBytes = 4 * VhdxFormat.MiB;

    /// <summary>Most pages of 4 KiB a log to be replayed may change: 1 GiB of the file.</summary>
    public const int MaxReplayedPages = 262_144;

    /// <summary>Most entries of a region table (section 2.2.3.1) and of a metadata table (section 2.6.1.1).</summary>
    public const int MaxTableEntries = 2047;

    /// <summary>Largest metadata item (section 2.6.1.2).</summary>
    public const int MaxItemBytes = 1024 * 1024;

    /// <summary>Most pairs of a parent locator that are looked at.</summary>
    public const int MaxLocatorPairs = 256;

    /// <summary>Memory for cached pages of the BAT and of sector bitmaps.</summary>
    public const int MetadataCacheBytes = 32 * 1024 * 1024;

    /// <summary>Pages kept even when the caller allows less memory: more than one log entry changes.</summary>
    public const int MinCachedPages = 512;

    /// <summary>A BAT up to this long is examined before the image is written to, which also finds its free space.</summary>
    public const long ScannedBatBytes = 4 * VhdxFormat.MiB;

    /// <summary>The file grows, as a hole, by at least this much.</summary>
    public const long GrowthBytes = 8 * VhdxFormat.MiB;

    /// <summary>Freed bytes that wait for the log; more start a commit, so that the space is used again in time.</summary>
    public const long MaxFreedBytes = 256 * VhdxFormat.MiB;

    /// <summary>Runs of mapping one status query looks at; the caller asks again from where the run ended.</summary>
    public const int RunsPerStatusQuery = 16_384;
}
