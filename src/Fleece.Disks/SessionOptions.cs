// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Resuming;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Tls;

namespace Fleece.Disks;

/// <summary>How a session is started.</summary>
internal sealed record SessionOptions
{
    /// <summary>The session's name, unique on its disk; null for the disk's name.</summary>
    public string? Name { get; init; }

    /// <summary>The ranges the snapshot is limited to, widened to whole granules; null for the whole disk.</summary>
    public IReadOnlyList<BlockRange>? Ranges { get; init; }

    /// <summary>The bitmap whose dirty ranges the snapshot is limited to; null for none. Not together with <see cref="Ranges"/>.</summary>
    public string? Bitmap { get; init; }

    /// <summary>
    /// The bitmap to make, which records from the session's instant on; null for one without a name where <see cref="Bitmap"/> needs it.
    /// </summary>
    public string? NextBitmap { get; init; }

    /// <summary>Names of the consumers all of whom must confirm a range before it is discarded; empty for a session that counts
    /// none.</summary>
    public IReadOnlyList<string> Consumers { get; init; } = [];

    /// <summary>
    /// Where old data goes: an existing image, a new file, a folder for a new file, or an NBD URI; null for a file beside the
    /// disk's image. Files that the session made are deleted when it stops.
    /// </summary>
    public string? TempPath { get; init; }

    /// <summary>Judges each file of a temp image, its parents' too, as <see cref="ImageOpenOptions.CheckPlace"/>; null for no judge.
    /// </summary>
    public Action<string>? CheckPlace { get; init; }

    /// <summary>Certificates for a temp image at an nbds URI.</summary>
    public TlsClientOptions? Tls { get; init; }

    /// <summary>The NBD server of a guest's QEMU that others have started, which then serves the snapshot too; null for one of
    /// Fleece's own. Disks of this process have none.</summary>
    public NbdUri? NbdServerUri { get; init; }

    /// <summary>512 B to 2 MiB, a power of two, and at least what the disk and temp take at once; null for 4 KiB, or more where they
    /// demand it.</summary>
    public int? GranuleSizeBytes { get; init; }

    /// <summary>Who loses when a copy fails.</summary>
    public CopyErrorPolicy OnCopyError { get; init; } = CopyErrorPolicy.BreakSnapshot;

    /// <summary>How long a copy may take, and how much old data temp may hold.</summary>
    public CopyLimits Limits { get; init; } = new();

    /// <summary>Where the session's log is kept, so that a later process can go on with it; null for nowhere.</summary>
    public SessionFolder? Folder { get; init; }

    /// <summary>How the guest is made quiet for the instant; null for not at all. Sessions of disks of this process leave it to their
    /// caller.</summary>
    public QuiesceOptions? Quiesce { get; init; }

    /// <summary>Refuses one image or new file for the old data of several disks.</summary>
    /// <param name="sessions">The sessions of one instant.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/></exception>
    public static void CheckTempOfEach(IEnumerable<SessionOptions> sessions)
    {
        string? shared = sessions.Select(session => session.TempPath).Where(path => path is not null && !Directory.Exists(path))
            .GroupBy(path => path, StringComparer.Ordinal).FirstOrDefault(paths => paths.Skip(1).Any())?.Key;
        if (shared is not null)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The old data of several disks can't go to one place, '{shared}'. Name a folder that exists with -TempPath, in which " +
                "each disk gets a file of its own, or start the sessions one by one.",
                shared);
        }
    }
}
