// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images;
using Fleece.Images.Chain;
using Fleece.TestKit;

namespace Fleece.Fuzz.Images;

/// <summary>Makes the images of the corpus that Fleece's own drivers make: empty, filled, left by a kill, and a child.</summary>
/// <remarks>They are kept as files because new images have new identifiers, and the smoke's inputs are always the same.</remarks>
internal static class CorpusImages
{
    /// <summary>The file that the children in the corpus have as their parent, without its extension.</summary>
    public const string ParentName = "fleece-parent";

    private const string Folder = "/images/";
    private const int MiB = 1024 * 1024;

    /// <summary>The images of a format, each with its name.</summary>
    public static IEnumerable<(string Name, byte[] Bytes)> Make(string format)
    {
        IImageDriver driver = Array.Find(
            ImageDrivers.WithMagic, driver => driver.Format.ToString().Equals(format, StringComparison.OrdinalIgnoreCase))
            ?? throw new ArgumentException($"There is no format '{format}'.");
        return Make(driver, format, new Seeds(1));
    }

    private static IEnumerable<(string Name, byte[] Bytes)> Make(IImageDriver driver, string format, Seeds random)
    {
        int? blockBytes = driver.Format switch
        {
            ImageFormat.Vhd => 512 * 1024,
            ImageFormat.Vhdx => MiB,
            _ => null,
        };
        ImageCreateOptions options = new() { Format = driver.Format, SizeBytes = 3 * MiB, BlockSizeBytes = blockBytes };
        byte[] small = Create(driver, format, options with { SizeBytes = 512 * 8 }, null);
        yield return ("fleece-tiny", Fill(driver, format, small, random, isClosed: true));

        // The table of a VHD is full of ones, which take room in the corpus.
        long largeBytes = driver.Format == ImageFormat.Vhd ? 1L << 30 : 20L << 30;
        byte[] large = Create(driver, format, options with { SizeBytes = largeBytes }, null);
        yield return ("fleece-large", large);
        yield return ("fleece-large-filled", Fill(driver, format, large, random, isClosed: true));
        byte[] parent = Create(driver, format, options, null);
        yield return ("fleece-killed", Fill(driver, format, parent, random, isClosed: false));
        parent = Fill(driver, format, parent, random, isClosed: true);
        yield return (ParentName, parent);
        if (driver.Format == ImageFormat.Qcow2)
        {
            yield break;
        }

        int? fixedBlockBytes = driver.Format == ImageFormat.Vhd ? null : blockBytes;
        yield return (
            "fleece-fixed",
            Create(driver, format, options with { SizeBytes = 512 * 40, IsFixed = true, BlockSizeBytes = fixedBlockBytes }, null));
        string path = $"{Folder}{ParentName}.{format}";
        MemoryFile file = new(path, parent, isReadOnly: true);
        ImageChain chain = new(Folder + "child." + format, ImageDrivers.Find);
        using ParentImage beneath = new(
            driver.OpenLayer(file, new ImageOpenOptions { Format = driver.Format, IsReadOnly = true }, chain));
        byte[] child = Create(driver, format, options with { ParentPath = path }, beneath);
        yield return ("fleece-child", child);
        yield return ("fleece-child-filled", Fill(driver, format, child, random, isClosed: true));
        yield return ("fleece-child-killed", Fill(driver, format, child, random, isClosed: false));
    }

    private static byte[] Create(IImageDriver driver, string format, ImageCreateOptions options, ParentImage? parent)
    {
        MemoryFile file = new(Folder + "child." + format, [], isReadOnly: false);
        driver.Create(file, options, parent);
        return file.ToArray();
    }

    // A program that ends after a flush has nothing more to lose, and leaves its log or what it grew in advance. The parent of a
    // child is in memory and needs not be opened: nothing is written that would have to be read from it.
    private static byte[] Fill(IImageDriver driver, string format, byte[] bytes, Seeds random, bool isClosed)
    {
        string path = Folder + "child." + format;
        MemoryFile file = new(path, bytes, isReadOnly: false);
        IBlockNode node = driver.Open(file, new ImageOpenOptions { Format = driver.Format, IsLayerOnly = true }, new ImageChain(path, ImageDrivers.Find));
        long sizeBytes = node.Geometry.LengthBytes;
        foreach (long at in (long[])[0, sizeBytes / 2 & -512, sizeBytes - 512])
        {
            Finish(node.WriteAsync(at, random.Bytes(512), WriteFlags.None, CancellationToken.None));
        }

        Finish(node.WriteZeroesAsync(0, Math.Min(sizeBytes, 200_000), WriteFlags.None, CancellationToken.None));
        Finish(node.FlushAsync(CancellationToken.None));
        byte[] killed = file.ToArray();
        Finish(node.DisposeAsync());
        return isClosed ? file.ToArray() : killed;
    }

    // A file in memory answers at once.
    private static void Finish(ValueTask request) => request.AsTask().GetAwaiter().GetResult();
}
