// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Qcow2;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>Images for tests, in memory and in files.</summary>
internal static class Images
{
    /// <summary>An empty image in memory.</summary>
    public static byte[] Empty(long sizeBytes, int clusterBytes) => Empty(
        new Qcow2LayoutOptions { SizeBytes = sizeBytes, ClusterBits = int.TrailingZeroCount(clusterBytes) });

    /// <summary>An empty image in memory.</summary>
    public static byte[] Empty(Qcow2LayoutOptions options)
    {
        MemoryContainer container = new([]);
        new Qcow2Layout(container.Path, options).WriteTo(container);
        return container.Content;
    }

    /// <summary>A new image in a file, open.</summary>
    public static async ValueTask<ImageNode> CreateAsync(string path, long sizeBytes, int clusterBytes)
    {
        await CreateFileAsync(path, sizeBytes, clusterBytes);
        return Open(path);
    }

    /// <summary>A new image in a file.</summary>
    public static ValueTask CreateFileAsync(string path, long sizeBytes, int? clusterBytes = null) => Image.CreateAsync(
        path,
        new ImageCreateOptions { Format = ImageFormat.Qcow2, SizeBytes = sizeBytes, BlockSizeBytes = clusterBytes });

    /// <summary>Opens an image and what it refers to.</summary>
    public static ImageNode Open(string path, bool isReadOnly = false) =>
        Open(path, new ImageOpenOptions { Format = ImageFormat.Qcow2, IsReadOnly = isReadOnly });

    public static ImageNode Open(string path, ImageOpenOptions options) =>
        (ImageNode)Image.OpenAsync(path, options).AsTask().GetAwaiter().GetResult().Node;

    /// <summary>The map of a qcow2 image.</summary>
    public static Qcow2Map Qcow2(this ImageNode node) => (Qcow2Map)node.Map;

    /// <summary>Fails the test unless QEMU finds the image clean and reads the reference's bytes from it.</summary>
    public static void CheckWithQemu(string path, ReferenceDisk disk, string context = "")
    {
        Qemu.CheckClean(path);
        disk.Check(0, Qemu.Content(path), context);
    }

    /// <summary>A random request on a node and on its reference, within a part of the disk.</summary>
    public static async ValueTask RandomRequestAsync(IBlockNode node, ReferenceDisk disk, Seeds seeds, BlockRange part)
    {
        BlockRange inPart = seeds.Range(part.LengthBytes);
        BlockRange range = new(part.OffsetBytes + inPart.OffsetBytes, Math.Min(inPart.LengthBytes, 400_000));
        range = range.Intersect(part);
        switch (seeds.Next(10))
        {
            case < 5:
                byte[] data = seeds.Bytes(range.LengthBytes);
                await node.WriteAsync(range.OffsetBytes, data, WriteFlags.None, CancellationToken.None);
                disk.Write(range.OffsetBytes, data);
                break;
            case 5:
                await node.WriteZeroesAsync(
                    range.OffsetBytes, range.LengthBytes, WriteFlags.None, CancellationToken.None);
                disk.WriteZeroes(range);
                break;
            case 6:
                await node.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
                disk.Discard(range);
                break;
            case 7 when seeds.Chance(20):
                await node.FlushAsync(CancellationToken.None);
                break;
            default:
                byte[] read = new byte[range.LengthBytes];
                await node.ReadAsync(range.OffsetBytes, read, CancellationToken.None);
                disk.Check(range.OffsetBytes, read);
                break;
        }
    }

    public static async Task<BlockException> FailsAsync(string kind, Func<Task> action)
    {
        BlockException failure = await Assert.ThrowsAsync<BlockException>(action);
        Assert.True(kind == failure.Kind, $"Expected {kind}: {failure}");
        return failure;
    }
}
