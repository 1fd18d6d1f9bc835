// SPDX-License-Identifier: MIT
namespace Fleece.Images;

/// <summary>How an image is opened.</summary>
public sealed record ImageOpenOptions
{
    /// <summary>The format; null to tell it from the content.</summary>
    public ImageFormat? Format { get; init; }

    /// <summary>True to refuse writes and share the file with other readers.</summary>
    public bool IsReadOnly { get; init; }

    /// <summary>
    /// True to open the image without its parents: what it does not store is <see cref="Block.BlockStatus.Unallocated"/> and
    /// reads as zeros. Read-only.
    /// </summary>
    public bool IsLayerOnly { get; init; }

    /// <summary>
    /// True to open no parent, and no parent's parent, but regular files of the image's own folder, and no data file: for images whose
    /// names a stranger may have written.
    /// </summary>
    public bool MustStayInFolder { get; init; }

    /// <summary>The internal snapshot to read as a disk, by id or name; null for the present state. Read-only.</summary>
    public string? SnapshotName { get; init; }

    /// <summary>Most memory for cached metadata tables, in bytes; null for the format's default.</summary>
    public long? MetadataCacheBytes { get; init; }

    /// <summary>
    /// What whole clusters that are written for the first time are compressed with; for images that are written once, such as
    /// backups. Null to store them as they are.
    /// </summary>
    public ImageCompression? Compression { get; init; }

    /// <summary>
    /// True to store zeros that are written even where the parent reads as zeros, so that they hide whatever it will hold: for layers that
    /// are to stand for what they were given, such as backups. qcow2 and VHDX always do.
    /// </summary>
    public bool MustStoreZeroes { get; init; }

    /// <summary>
    /// True to go on being the image that its children know although it is written to, where the format would tell them. The caller vouches
    /// that no child sees what is written.
    /// </summary>
    public bool MustKeepIdentity { get; init; }

    /// <summary>
    /// True for an image that nobody needs any more when the system crashes: nothing is made durable, also when it is flushed or closed, so
    /// no request waits for that. A crash of the system can leave a file that is no image; one of the process can't.
    /// </summary>
    public bool IsTransient { get; init; }

    /// <summary>
    /// Hears of the first failed flush of each file that the image writes to, on the thread of that flush and before it reports; null for
    /// nobody. It must not use the image.
    /// </summary>
    public Action<Block.BlockException>? FlushFailed { get; init; }

    /// <summary>
    /// True to use a data file that lies outside the folder of the image that names it. A disk that is open for writing writes to its data
    /// file, so the caller vouches for the image.
    /// </summary>
    public bool AllowsOutsideDataFile { get; init; }

    /// <summary>
    /// The bounds of an image from a stranger, which also may name no file outside its folder and no data file; null for an image that is
    /// trusted.
    /// </summary>
    public UntrustedLimits? Untrusted { get; init; }

    /// <summary>The parameters that the caller's user has, for the advice in messages.</summary>
    internal ImageParameters Parameters { get; init; } = ImageParameters.Default;

    /// <summary>By how many bytes the file of a qcow2, VHD or VHDX image grows at least; null for the format's default.</summary>
    internal long? GrowthBytes { get; init; }

    /// <summary>Gets a watch of each file of the image, its parents' too, with <see cref="FlushFailed"/> as its listener; null for none.
    /// They are the opener's, also when the opening fails.</summary>
    internal ICollection<Block.Files.LossWatch>? Watches { get; init; }

    /// <summary>Watches a file of the image, for <see cref="Watches"/>.</summary>
    internal void Watch(Block.Files.LocalFile file)
    {
        Watches?.Add(Block.Files.LossWatch.Open(file, FlushFailed));
    }

    /// <summary>True to keep a journal beside the image, which is open for writing, so that a killed process loses no acknowledged change.
    /// <see cref="IJournaledImage"/> tells whether there is one.</summary>
    internal bool KeepsJournal { get; init; }

    /// <summary>True to have the journal of an image that is closed in order stay, and say so, until <c>ImageJournals.RemoveClosed</c>: its
    /// absence is a loss then.</summary>
    internal bool LeavesJournal { get; init; }

    /// <summary>True when the opener settles itself the loss of the journal before (<see cref="IJournaledImage.SettleLoss"/>), and not the
    /// disk that opens the image.</summary>
    internal bool SettlesLoss { get; init; }

    /// <summary>Hears of each file that is opened; null for none.</summary>
    internal ImageFiles? Files { get; init; }

    /// <summary>Judges each file that is opened, the image and those it leads to, by the path at which it lies with all links followed, and
    /// before it is read or written; throws to refuse it. Null for no judge.</summary>
    internal Action<string>? CheckPlace { get; init; }

    /// <summary>The sessions of the image that its opener resumes, by the ids of their logs; null for none. An image that has others is not
    /// opened for writing.</summary>
    internal IReadOnlySet<Guid>? ResumedSessions { get; init; }

    /// <summary>True to give up the sessions of the image that are not resumed, when it is opened for writing.</summary>
    internal bool DiscardsSessions { get; init; }
}
