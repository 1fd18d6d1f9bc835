// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Images;
using Fleece.Images.Journal;
using Fleece.Nbd;

namespace Fleece.Hosting.State;

/// <summary>The file of an image as a host last saw it, so that the next one tells whether it moved or changed in between.</summary>
/// <remarks>It decides nothing: bitmaps decide by evidence of their own whether they are trusted.</remarks>
/// <param name="FileId">What stays with the file whatever it is called, as <see cref="FileEvidence.FileId"/>.</param>
/// <param name="LengthBytes">Its length.</param>
/// <param name="ModifiedAt">When its content changed last.</param>
/// <param name="IsClosed">True when the host had closed it, so that length and time are its last ones. While it is mounted, guests
/// change both, and the file's identity alone counts.</param>
internal sealed record ImageTrace(ulong FileId, long LengthBytes, DateTimeOffset ModifiedAt, bool IsClosed)
{
    /// <summary>Looks at an image now.</summary>
    /// <param name="address">The absolute path of the image, or the URI of an export.</param>
    /// <param name="isClosed">True when the host has closed it.</param>
    /// <returns>Null for an export, and for a file that can't be looked at.</returns>
    public static ImageTrace? Of(string address, bool isClosed)
    {
        try
        {
            return NbdUri.IsUri(address) ? null : From(FileEvidence.Read(address), isClosed);
        }
        catch (BlockException)
        {
            return null; // Mounting it fails with the same error, and that is the one to tell.
        }
    }

    /// <summary>Compares with the image as it is now.</summary>
    /// <param name="address">The absolute path of the image.</param>
    /// <param name="isMissing">True when no file is there any more: then it can't be mounted.</param>
    /// <returns>What happened while the host was down, in whole sentences; null for nothing that can be seen.</returns>
    public string? FindChange(string address, out bool isMissing)
    {
        isMissing = false;
        ImageTrace now;
        try
        {
            now = From(FileEvidence.Read(address), IsClosed);
        }
        catch (BlockException e)
        {
            isMissing = e.Kind == BlockErrors.NotFound && !Directory.Exists(address); // Mounting a folder fails, and says that it is one.
            return isMissing
                ? $"The image '{address}' was moved, renamed or deleted while the host was down. Put it back{AdviceToMove(address)}."
                : null;
        }

        return now.FileId != FileId
            ? $"Another file took the place of the image '{address}' while the host was down, as a restore does. Bitmaps that do not " +
                "fit it are not trusted, and the next backup is a full one."
            : now != this && IsClosed
                ? $"The image '{address}' was changed while the host was down. Bitmaps that do not know of it are not trusted, and the " +
                    "next backup is a full one."
                : null;
    }

    // The journal may have writes that the image lacks, and a mount without it can't tell.
    private static string AdviceToMove(string address)
    {
        string[] beside = [.. new[] { JournalLayout.Extension, SessionMarker.Extension, Sidecar.Extension }
            .Select(extension => FileNames.Beside(address, extension)).Where(File.Exists)];
        return beside.Length == 0
            ? ", or dismount the disk and mount the image where it lies now. Its sessions go on at the old place alone"
            : $". To serve it where it lies now instead, first move what belongs to it there too, or what it holds is lost: " +
                $"{string.Join(", ", beside.Select(path => $"'{path}'"))}, each with the image's new name before '.fleece-'. Then " +
                "dismount the disk and mount the image";
    }

    private static ImageTrace From(FileEvidence evidence, bool isClosed) => new(
        evidence.FileId, evidence.LengthBytes, new DateTimeOffset(evidence.ModifiedTicks, TimeSpan.Zero), isClosed);
}
