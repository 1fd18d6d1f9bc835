// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.TestKit;

namespace Fleece.Images.Tests.OnNode;

/// <summary>A device of fixed size with an image at its start, and other bytes behind that.</summary>
internal sealed class Device
{
    public const string Address = "nbd://device/image";

    private const int SmallClusterBytes = 4096;
    private const byte OthersByte = 0xa5;

    private Device(string path) => Path = path;

    /// <summary>The file that holds the device's bytes.</summary>
    public string Path { get; }

    /// <summary>Makes an image and a device for it.</summary>
    public static async Task<Device> CreateAsync(TempFolder folder, ImageCreateOptions image, long deviceBytes)
    {
        string path = folder.NewFile(".image");
        await Image.CreateAsync(path, image);
        return await CreateAsync(path, deviceBytes);
    }

    /// <summary>Makes the file of an image a device.</summary>
    public static async Task<Device> CreateAsync(string path, long deviceBytes)
    {
        await using FileStream file = new(path, FileMode.Append);
        byte[] others = new byte[deviceBytes - file.Length];
        others.AsSpan().Fill(OthersByte);
        await file.WriteAsync(others);
        return new Device(path);
    }

    /// <summary>An image of small units, so that a small disk has many.</summary>
    public static ImageCreateOptions Small(ImageFormat format, long sizeBytes) => new()
    {
        Format = format,
        SizeBytes = sizeBytes,
        BlockSizeBytes = format switch
        {
            ImageFormat.Qcow2 => SmallClusterBytes,
            ImageFormat.Vhd => 512 * 1024,
            _ => 1024 * 1024,
        },
    };

    /// <summary>The device as a node, which can't grow past its end.</summary>
    public IBlockNode Attach() => FileNode.Open(Path, isReadOnly: false);

    /// <summary>Opens the image over the device, or over a node that stands for it.</summary>
    public async ValueTask<IBlockNode> OpenAsync(ImageFormat format, IBlockNode? over = null, ImageOpenOptions? options = null)
    {
        IBlockNode node = over ?? Attach();
        try
        {
            return await ImageOnNode.OpenAsync(
                node, Address, (options ?? new ImageOpenOptions()) with { Format = format }, CancellationToken.None);
        }
        catch
        {
            await node.DisposeAsync();
            throw;
        }
    }
}
