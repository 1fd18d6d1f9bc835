// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Journal;

namespace Fleece.Images.Tests.Crashes;

/// <summary>An image that a run begins with.</summary>
/// <param name="Bytes">The file.</param>
/// <param name="Content">The bytes of its disk.</param>
/// <param name="Path">Where the file is said to lie, so that its parent is found.</param>
internal sealed record CrashImage(byte[] Bytes, byte[] Content, string Path)
{
    /// <summary>The bytes of the parent's disk; null without a parent.</summary>
    public byte[]? ParentContent { get; init; }

    /// <summary>By how much the file grows at least; null for the format's default.</summary>
    public long? GrowthBytes { get; init; }

    /// <summary>Opens the image in a container as a disk.</summary>
    /// <param name="format">Its format.</param>
    /// <param name="file">The container.</param>
    /// <param name="journal">The journal that it keeps; null for none.</param>
    public IBlockNode Open(ImageFormat format, IContainerFile file, JournalOpening? journal = null)
    {
        IBlockNode node = CrashRows.FindDriver(format).Open(
            file,
            new ImageOpenOptions { Format = format, IsReadOnly = file.IsReadOnly, GrowthBytes = GrowthBytes },
            new ImageChain(Path, ImageDrivers.Find) { Journal = journal });
        if (journal is not null)
        {
            ((ImageNode)node).Attach(journal);
        }

        return node;
    }

    /// <summary>The bytes of an image's disk as the node reads them.</summary>
    public static byte[] Read(IBlockNode node) => Read(node, new byte[node.Geometry.LengthBytes]);

    /// <summary>The same, in a buffer that has the disk's length.</summary>
    public static byte[] Read(IBlockNode node, byte[] content)
    {
        node.ReadAsync(0, content, CancellationToken.None).AsTask().GetAwaiter().GetResult();
        return content;
    }
}
