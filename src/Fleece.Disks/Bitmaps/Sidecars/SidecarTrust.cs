// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block.Files;
using Fleece.Disks.Storage;
using Fleece.Images;

namespace Fleece.Disks.Bitmaps.Sidecars;

/// <summary>Whether what a sidecar says of an image still holds.</summary>
internal static class SidecarTrust
{
    /// <summary>Why none of its bitmaps can be trusted, as a sentence; null when they can.</summary>
    /// <param name="directory">What the sidecar says.</param>
    /// <param name="image">The image as it is now.</param>
    /// <param name="sidecar">The sidecar as it is now.</param>
    /// <param name="stamp">What the sidecar says of the image as it was last; null for nothing.</param>
    /// <param name="diskLengthBytes">Size of the disk as it is now.</param>
    /// <param name="parents">The files below the image as they are now; null where they are not known yet.</param>
    public static string? FindFault(
        SidecarDirectory directory,
        FileEvidence image,
        FileEvidence sidecar,
        ImageStamp? stamp,
        long diskLengthBytes,
        IReadOnlyList<ParentFile>? parents)
    {
        if (directory.DiskLengthBytes != diskLengthBytes)
        {
            return $"It was recorded for a disk of {directory.DiskLengthBytes} bytes, and this one has {diskLengthBytes}.";
        }

        if (directory.Image.FileId != image.FileId)
        {
            return "It was recorded for another file: the image was replaced or copied (its identity on the file system is " +
                $"{image.FileId} and was {directory.Image.FileId}).";
        }

        if (parents is not null && directory.ParentsDigest != ParentFile.Digest(parents))
        {
            return "A parent of the image was changed or replaced without it" +
                (parents.Count == 0 ? ", or the image has none any more." :
                    $", or the image has others now: {string.Join(", ", parents.Select(parent => $"'{parent.Path}'"))}.");
        }

        return directory.IsInUse ? FaultAfterKill(directory, image, sidecar, stamp) : FaultAfterClose(directory, image);
    }

    private static string? FaultAfterClose(SidecarDirectory directory, FileEvidence image)
    {
        if (directory.Image.LengthBytes != image.LengthBytes)
        {
            return $"The image was changed without it: its file has {image.LengthBytes} bytes and had {directory.Image.LengthBytes}.";
        }

        return directory.Image.ModifiedTicks == image.ModifiedTicks
            ? null
            : $"The image was changed without it: it was modified at {Time(image.ModifiedTicks)}, and Fleece left it at " +
                $"{Time(directory.Image.ModifiedTicks)}.";
    }

    private static string? FaultAfterKill(SidecarDirectory directory, FileEvidence image, FileEvidence sidecar, ImageStamp? stamp)
    {
        if (!BootId.IsThisRun(directory.BootId))
        {
            return "The process that recorded it ended without closing the disk, and the system has been started since (or does not " +
                "tell), so what it recorded last may be lost.";
        }

        return !ImageStamp.IsChanged(stamp, image, sidecar.ModifiedTicks)
            ? null
            : "The process that recorded it ended without closing the disk, and the image was changed later: it was modified at " +
                $"{Time(image.ModifiedTicks)}, the last record is of {Time(sidecar.ModifiedTicks)}.";
    }

    // A sidecar may name a time that no clock has.
    private static string Time(long ticks) => ticks >= DateTime.MinValue.Ticks && ticks <= DateTime.MaxValue.Ticks
        ? new DateTime(ticks, DateTimeKind.Utc).ToString("O", CultureInfo.InvariantCulture)
        : $"an impossible time ({ticks.ToString(CultureInfo.InvariantCulture)} units of 100 ns since the year 1)";
}
