// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Vhd;
using Fleece.TestKit;

namespace Fleece.Images.Tests.Vhd;

/// <summary>The contract of block nodes, over images in files.</summary>
public abstract class VhdConformance : BlockNodeConformance, IDisposable
{
    private readonly TempFolder _folder = new();

    protected override int DiscardUnitBytes => 512;

    protected override bool ReportsFreedRanges => OperatingSystem.IsLinux();

    public void Dispose()
    {
        _folder.Dispose();
        GC.SuppressFinalize(this);
    }

    protected override async ValueTask<IBlockNode> CreateAsync(long lengthBytes) =>
        await VhdImages.OpenAsync(await CreateFileAsync(_folder, lengthBytes));

    /// <summary>Makes an image file of that size.</summary>
    protected abstract ValueTask<string> CreateFileAsync(TempFolder folder, long lengthBytes);

    private protected static async ValueTask<string> CreateAsync(TempFolder folder, ImageCreateOptions options)
    {
        string path = folder.NewFile(".vhd");
        await Image.CreateAsync(path, options);
        return path;
    }
}

/// <summary>Fixed images: raw bytes with a footer.</summary>
public sealed class FixedVhdConformance : VhdConformance
{
    protected override ValueTask<string> CreateFileAsync(TempFolder folder, long lengthBytes) =>
        CreateAsync(folder, new ImageCreateOptions { Format = ImageFormat.Vhd, SizeBytes = lengthBytes, IsFixed = true });
}

/// <summary>The usual blocks: the disk is half a block.</summary>
public sealed class DynamicVhdConformance : VhdConformance
{
    protected override ValueTask<string> CreateFileAsync(TempFolder folder, long lengthBytes) =>
        CreateAsync(folder, new ImageCreateOptions { Format = ImageFormat.Vhd, SizeBytes = lengthBytes });
}

/// <summary>Blocks as small as a page, so that requests cross many.</summary>
public sealed class DynamicVhdWith4KiBBlocksConformance : VhdConformance
{
    protected override ValueTask<string> CreateFileAsync(TempFolder folder, long lengthBytes)
    {
        string path = folder.NewFile(".vhd");
        VhdImages.CreateFile(path, lengthBytes, 4096);
        return new ValueTask<string>(path);
    }
}

/// <summary>A dynamic image whose bitmaps another program has left clear.</summary>
public sealed class DynamicVhdWithClearBitmapsConformance : VhdConformance
{
    private const int BlockBytes = 65536;

    protected override async ValueTask<string> CreateFileAsync(TempFolder folder, long lengthBytes)
    {
        string path = folder.NewFile(".vhd");
        VhdImages.CreateFile(path, lengthBytes, BlockBytes);
        await using (IBlockNode node = await VhdImages.OpenAsync(path))
        {
            await node.WriteAsync(0, new byte[lengthBytes], WriteFlags.None, CancellationToken.None);
        }

        byte[] image = await File.ReadAllBytesAsync(path);
        for (int block = 0; block < lengthBytes / BlockBytes; block++)
        {
            uint sector = BinaryPrimitives.ReadUInt32BigEndian(VhdImages.Entry(image, block));
            image.AsSpan((int)sector * 512, 512).Clear();
        }

        await File.WriteAllBytesAsync(path, image);
        return path;
    }
}

/// <summary>A child in blocks of 512 KiB over an empty parent.</summary>
public sealed class DifferencingVhdConformance : VhdConformance
{
    protected override async ValueTask<string> CreateFileAsync(TempFolder folder, long lengthBytes)
    {
        string parent = await CreateAsync(folder, new ImageCreateOptions { Format = ImageFormat.Vhd, SizeBytes = lengthBytes });
        return await CreateAsync(
            folder,
            new ImageCreateOptions { Format = ImageFormat.Vhd, ParentPath = parent, BlockSizeBytes = VhdLimits.SmallBlockBytes });
    }
}

/// <summary>A child in small blocks over a parent that stores the zeros it reads as, so that nothing can be left out.</summary>
public sealed class DifferencingVhdOverStoredZerosConformance : VhdConformance
{
    protected override async ValueTask<string> CreateFileAsync(TempFolder folder, long lengthBytes)
    {
        string parent = await CreateAsync(folder, new ImageCreateOptions { Format = ImageFormat.Vhd, SizeBytes = lengthBytes });
        await using (IBlockNode node = await VhdImages.OpenAsync(parent))
        {
            await node.WriteAsync(0, new byte[lengthBytes], WriteFlags.None, CancellationToken.None);
        }

        string path = folder.NewFile(".vhd");
        VhdImages.CreateFile(path, lengthBytes, 16384, parent);
        return path;
    }
}

/// <summary>A child opened for reading, over a parent that holds half of its content.</summary>
public sealed class ReadOnlyVhdConformance : ReadOnlyNodeConformance, IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    protected override async ValueTask<IBlockNode> CreateAsync(byte[] content)
    {
        string parent = _folder.File("parent.vhd");
        string child = _folder.File("child.vhd");
        await Image.CreateAsync(parent, new ImageCreateOptions { Format = ImageFormat.Vhd, SizeBytes = content.Length });
        int half = content.Length / 2 + 100;
        await WriteAsync(parent, 0, content.AsMemory(0, half));
        await Image.CreateAsync(child, new ImageCreateOptions { Format = ImageFormat.Vhd, ParentPath = parent });
        await WriteAsync(child, half, content.AsMemory(half));
        return await VhdImages.OpenAsync(child, isReadOnly: true);
    }

    private static async Task WriteAsync(string path, long offsetBytes, ReadOnlyMemory<byte> data)
    {
        await using IBlockNode node = await VhdImages.OpenAsync(path);
        await node.WriteAsync(offsetBytes, data, WriteFlags.None, CancellationToken.None);
    }
}
