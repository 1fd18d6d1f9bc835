// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Nbd.Client;

namespace Fleece.Disks.Storage;

/// <summary>The whole sectors that a disk is made of, where the storage of its bytes ends within the last one.</summary>
internal static class DiskSectors
{
    // The unit that QEMU rounds the length of a disk to.
    private const int SectorBytes = 512;

    /// <summary>An export as a disk, which owns it.</summary>
    public static IBlockNode Over(NbdNode export) => PaddedNode.Over(export, export.Uri.ToString(), SectorBytes);

    /// <summary>What the user should hear of a disk that is longer than its storage; null for any other.</summary>
    /// <param name="image">The disk's image.</param>
    /// <param name="path">The image file, or the export's URI.</param>
    public static string? FindNote(IBlockNode image, string path)
    {
        long storedBytes = image switch
        {
            FileNode file => file.StoredBytes,
            PaddedNode padded => padded.StoredBytes,
            _ => image.Geometry.LengthBytes,
        };
        long addedBytes = image.Geometry.LengthBytes - storedBytes;
        string writes = image.Geometry.IsReadOnly ? string.Empty
            : image is FileNode ? " When something is written there, the file grows."
            : " Only zeros can be written there: anything else fails, because the server has no room for it.";
        return addedBytes == 0 ? null :
            $"'{path}' has {storedBytes} bytes, which is no multiple of {SectorBytes}, so the disk has " +
            $"{image.Geometry.LengthBytes}: the {addedBytes} bytes behind the end read as zeros.{writes}";
    }
}
