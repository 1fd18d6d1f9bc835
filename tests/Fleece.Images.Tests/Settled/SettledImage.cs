// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.TestKit;

namespace Fleece.Images.Tests.Settled;

/// <summary>An open image in a real file, in which the bytes around <see cref="EdgeBytes"/> have been written once and flushed.</summary>
/// <remarks>The edge divides two clusters or blocks. The one behind it was written first, so that an image that allocates them puts them
/// apart. A parent stores all of its disk.</remarks>
internal sealed class SettledImage : IAsyncDisposable
{
    public const int EdgeBytes = 2 * 1024 * 1024;
    public const int SizeBytes = 4 * EdgeBytes;

    /// <summary>Settled on either side of the edge. For a block of VHD and VHDX that is a part.</summary>
    public const int SideBytes = 128 * 1024;

    private const string Parent = "parent";

    private static readonly Dictionary<string, ImageCreateOptions> All = new()
    {
        ["raw"] = new() { Format = ImageFormat.Raw },
        ["qcow2"] = new() { Format = ImageFormat.Qcow2 },
        ["qcow2 with subclusters"] = new() { Format = ImageFormat.Qcow2, HasSubclusters = true },
        ["qcow2 with a parent"] = new() { Format = ImageFormat.Qcow2, ParentPath = Parent },
        ["qcow2 with a data file"] = new() { Format = ImageFormat.Qcow2, DataFilePath = "data.raw" },
        ["VHD fixed"] = new() { Format = ImageFormat.Vhd, IsFixed = true },
        ["VHD dynamic"] = new() { Format = ImageFormat.Vhd },
        ["VHD differencing"] = new() { Format = ImageFormat.Vhd, ParentPath = Parent },
        ["VHDX fixed"] = new() { Format = ImageFormat.Vhdx, IsFixed = true, BlockSizeBytes = 1024 * 1024 },
        ["VHDX dynamic"] = new() { Format = ImageFormat.Vhdx, BlockSizeBytes = 1024 * 1024 },
        ["VHDX differencing"] = new() { Format = ImageFormat.Vhdx, BlockSizeBytes = 1024 * 1024, ParentPath = Parent },
    };

    private SettledImage(IBlockNode node, CountingContainer? file) => (Node, File) = (node, file);

    /// <summary>The names of the kinds of images.</summary>
    public static IReadOnlyCollection<string> Kinds => All.Keys;

    public IBlockNode Node { get; }

    /// <summary>Counts the operations on the image's own file, not those on its parent or data file; null where nothing is counted.
    /// </summary>
    public CountingContainer? File { get; }

    /// <summary>Makes an image in a folder of its own.</summary>
    /// <param name="folder">An empty folder.</param>
    /// <param name="kind">One of <see cref="Kinds"/>.</param>
    /// <param name="isCounted">True to count the operations on its file; not for a raw image, whose node takes the file itself.</param>
    public static async Task<SettledImage> CreateAsync(TempFolder folder, string kind, bool isCounted)
    {
        ImageCreateOptions options = All[kind] with { SizeBytes = SizeBytes };
        if (options.ParentPath is not null)
        {
            options = options with { ParentPath = folder.File(Parent), ParentFormat = options.Format };
            await Image.CreateAsync(folder.File(Parent), options with { ParentPath = null, ParentFormat = null });
            await using IBlockNode parent = await OpenAsync(folder.File(Parent), options.Format);
            await FillAsync(parent, 0, SizeBytes);
        }

        string path = folder.File("image");
        await Image.CreateAsync(path, options);
        CountingContainer? file = isCounted ? new CountingContainer(new LocalContainer(LocalFile.Open(path, isReadOnly: false))) : null;
        IBlockNode node = file is null
            ? await OpenAsync(path, options.Format)
            : ImageDrivers.Find(options.Format).Open(file, new ImageOpenOptions(), new ImageChain(path, ImageDrivers.Find));
        await FillAsync(node, EdgeBytes, SideBytes);
        await FillAsync(node, EdgeBytes - SideBytes, SideBytes);
        await node.FlushAsync(CancellationToken.None);
        _ = file?.TakeCounts();
        return new SettledImage(node, file);
    }

    public ValueTask DisposeAsync() => Node.DisposeAsync();

    private static async Task<IBlockNode> OpenAsync(string path, ImageFormat format) =>
        (await Image.OpenAsync(path, new ImageOpenOptions { Format = format })).Node;

    private static async Task FillAsync(IBlockNode node, int offsetBytes, int lengthBytes) =>
        await node.WriteAsync(offsetBytes, Enumerable.Repeat((byte)7, lengthBytes).ToArray(), WriteFlags.None, CancellationToken.None);
}
