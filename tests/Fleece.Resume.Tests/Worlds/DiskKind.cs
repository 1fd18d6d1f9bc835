// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images;
using Fleece.Resuming.Tests.Truth;

namespace Fleece.Resuming.Tests.Worlds;

/// <summary>The image that a disk of a world lies in.</summary>
internal enum DiskKind
{
    Raw,
    Qcow2,
    Qcow2Child,
    Vhd,
    VhdChild,
    Vhdx,
    VhdxChild,
}

/// <summary>Images of each kind, with content that the truth knows.</summary>
internal static class DiskImages
{
    /// <summary>Makes the image of a disk, and its parent. Half of the disk holds data.</summary>
    /// <returns>Path of the image.</returns>
    public static async Task<string> CreateAsync(DiskKind kind, string folder, DiskTruth truth, ulong write)
    {
        (ImageFormat format, bool isChild) = kind switch
        {
            DiskKind.Raw => (ImageFormat.Raw, false),
            DiskKind.Qcow2 => (ImageFormat.Qcow2, false),
            DiskKind.Qcow2Child => (ImageFormat.Qcow2, true),
            DiskKind.Vhd => (ImageFormat.Vhd, false),
            DiskKind.VhdChild => (ImageFormat.Vhd, true),
            DiskKind.Vhdx => (ImageFormat.Vhdx, false),
            _ => (ImageFormat.Vhdx, true),
        };
        string extension = format.ToString().ToLowerInvariant();
        string path = Path.Combine(folder, $"{truth.Name}.{extension}");
        string filled = isChild ? Path.Combine(folder, $"{truth.Name}-parent.{extension}") : path;
        ImageCreateOptions options = new()
        {
            Format = format,
            SizeBytes = (long)truth.SectorCount * Sectors.SizeBytes,
            BlockSizeBytes = format is ImageFormat.Vhd ? 512 * 1024 : format is ImageFormat.Vhdx ? 1024 * 1024 : null,
        };
        await Image.CreateAsync(filled, options);
        await FillAsync(filled, format, truth, write);
        if (isChild)
        {
            await Image.CreateAsync(path, options with { SizeBytes = null, BlockSizeBytes = null, ParentPath = filled });
        }

        return path;
    }

    private static async Task FillAsync(string path, ImageFormat format, DiskTruth truth, ulong write)
    {
        IBlockNode node = (await Image.OpenAsync(path, new ImageOpenOptions { Format = format })).Node;
        int half = truth.SectorCount / 2;
        byte[] data = new byte[half * Sectors.SizeBytes];
        Sectors.Fill(data, 0, write);
        await node.WriteAsync(0, data, WriteFlags.None, CancellationToken.None);
        await node.DisposeAsync();
        Assert.True(truth.TryBegin(0, half, write));
        truth.Complete(0, half);
    }
}
