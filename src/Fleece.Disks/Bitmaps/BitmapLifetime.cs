// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Bitmaps;

/// <summary>How long the bitmaps of a disk last.</summary>
internal enum BitmapLifetime
{
    /// <summary>As long as the image: it keeps them, or a file beside it does.</summary>
    Image,

    /// <summary>As long as the disk is mounted.</summary>
    Mount,

    /// <summary>As long as the process that runs the disk's guest: they are in QEMU's memory alone.</summary>
    Guest,

    /// <summary>As long as the image, which lies on an export: it keeps them, and the backups that they count from are noted as long as
    /// the disk is mounted.</summary>
    ImageOnExport,
}
