// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Vhd;

namespace Fleece.Images.Tests.Vhd;

/// <summary>VHD images for tests, in memory and in files.</summary>
internal static class VhdImages
{
    /// <summary>An empty image in memory, with blocks of any size.</summary>
    public static byte[] Empty(VhdDiskType type, long sizeBytes, int blockBytes = VhdLimits.DefaultBlockBytes, Guid parentId = default)
    {
        MemoryContainer container = new([]);
        new VhdLayout
        {
            Type = type,
            SizeBytes = sizeBytes,
            BlockBytes = blockBytes,
            ParentPath = type == VhdDiskType.Differencing ? Path.GetFullPath("/parent.vhd") : null,
            ParentId = parentId,
        }.WriteTo(container);
        return container.Content;
    }

    /// <summary>An empty image in a file, with blocks of any size.</summary>
    public static void CreateFile(string path, long sizeBytes, int blockBytes, string? parentPath = null)
    {
        using LocalContainer container = new(LocalFile.Create(path, 0));
        new VhdLayout
        {
            Type = parentPath is null ? VhdDiskType.Dynamic : VhdDiskType.Differencing,
            SizeBytes = sizeBytes,
            BlockBytes = blockBytes,
            ParentPath = parentPath,
            ParentId = parentPath is null ? Guid.Empty : VhdReader.UniqueId(File.ReadAllBytes(parentPath)),
        }.WriteTo(container);
    }

    /// <summary>Opens a dynamic or differencing image in memory.</summary>
    public static ImageNode Open(
        MemoryContainer container, byte[]? parent = null, long cacheBytes = VhdLimits.MetadataCacheBytes, long growthBytes = 64 * 1024)
    {
        Func<VhdHeader, ParentImage>? openParent = parent is null
            ? null
            : _ => new ParentImage(Open(new MemoryContainer(parent, isReadOnly: true)));
        return VhdMap.Open(container, VhdFooters.Read(container), cacheBytes, openParent, growthBytes);
    }

    /// <summary>Opens an image in a file, with its parents.</summary>
    public static async ValueTask<IBlockNode> OpenAsync(
        string path, bool isReadOnly = false, bool isLayerOnly = false, long? cacheBytes = null)
    {
        (IBlockNode node, _) = await Image.OpenAsync(path, new ImageOpenOptions
        {
            Format = ImageFormat.Vhd,
            IsReadOnly = isReadOnly || isLayerOnly,
            IsLayerOnly = isLayerOnly,
            MetadataCacheBytes = cacheBytes,
        });
        return node;
    }

    public static async Task<byte[]> ReadAllAsync(IBlockNode node)
    {
        byte[] content = new byte[node.Geometry.LengthBytes];
        await node.ReadAsync(0, content, CancellationToken.None);
        return content;
    }

    /// <summary>Changes a footer or header and makes its checksum right again.</summary>
    public static void Patch(Span<byte> structure, int checksumField, Action<byte[]> change)
    {
        byte[] bytes = structure.ToArray();
        change(bytes);
        uint sum = 0;
        for (int i = 0; i < bytes.Length; i++)
        {
            sum += i >= checksumField && i < checksumField + 4 ? 0u : bytes[i];
        }

        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(checksumField), ~sum);
        bytes.CopyTo(structure);
    }

    /// <summary>Changes both footers of a dynamic image, or the one of a fixed image.</summary>
    public static void PatchFooters(byte[] image, Action<byte[]> change)
    {
        Patch(image.AsSpan(image.Length - 512), 64, change);
        if (image.AsSpan().StartsWith("conectix"u8))
        {
            Patch(image.AsSpan(0, 512), 64, change);
        }
    }

    /// <summary>Changes the header of an image made here, where it lies at 512.</summary>
    public static void PatchHeader(byte[] image, Action<byte[]> change) => Patch(image.AsSpan(512, 1024), 36, change);

    /// <summary>An entry of the block allocation table of an image made here, where it lies at 1536.</summary>
    public static Span<byte> Entry(byte[] image, int block) => image.AsSpan(1536 + (block * 4), 4);
}
