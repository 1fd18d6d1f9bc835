// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;
using Fleece.Images.Vhdx;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>VHDX images for tests, in memory and in files, and the places of their structures.</summary>
internal static class VhdxImages
{
    public const int MiB = 1024 * 1024;

    /// <summary>Where Fleece's own images have their parts.</summary>
    public const int LogOffsetBytes = MiB;
    public const int MetadataOffsetBytes = 2 * MiB;
    public const int BatOffsetBytes = 3 * MiB;
    public const int BlocksOffsetBytes = 4 * MiB;

    /// <summary>An empty image in memory.</summary>
    public static byte[] Empty(long sizeBytes, int blockBytes = MiB, int sectorBytes = 512, bool isFixed = false)
    {
        MemoryContainer container = new([]);
        new VhdxDriver().Create(container, Options(sizeBytes, blockBytes, sectorBytes, isFixed), null);
        return container.Content;
    }

    public static ImageCreateOptions Options(
        long sizeBytes, int? blockBytes = null, int? sectorBytes = null, bool isFixed = false) => new()
        {
            Format = ImageFormat.Vhdx,
            SizeBytes = sizeBytes,
            BlockSizeBytes = blockBytes,
            LogicalSectorSizeBytes = sectorBytes,
            IsFixed = isFixed,
        };

    public static ImageNode Open(IContainerFile file) =>
        Open(file, new ImageOpenOptions { IsReadOnly = file.IsReadOnly }, Environment.ProcessPath!);

    public static ImageNode Open(byte[] content, bool isReadOnly = false) => Open(new MemoryContainer(content, isReadOnly));

    public static ImageNode Open(string path, bool isReadOnly = false, bool isLayerOnly = false)
    {
        LocalContainer file = new(LocalFile.Open(path, isReadOnly));
        try
        {
            return Open(file, new ImageOpenOptions { IsReadOnly = isReadOnly, IsLayerOnly = isLayerOnly }, path);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public static async ValueTask CreateChildAsync(string path, string parentPath, int? blockBytes = null) => await Image.CreateAsync(
        path, new ImageCreateOptions { Format = ImageFormat.Vhdx, ParentPath = parentPath, BlockSizeBytes = blockBytes });

    public static byte[] Content(byte[] image)
    {
        ImageNode node = Open(image, isReadOnly: true);
        byte[] content = new byte[node.Geometry.LengthBytes];
        node.Read(0, content);
        return content;
    }

    public static ImageReport Check(byte[] image, ImageRepair repair = ImageRepair.None) =>
        Check(new MemoryContainer(image, isReadOnly: repair == ImageRepair.None), repair);

    public static ImageReport Check(IContainerFile file, ImageRepair repair = ImageRepair.None) =>
        new VhdxDriver().Check(file, repair, CancellationToken.None);

    /// <summary>Fails the test when the check finds more than leaks.</summary>
    public static void LeaksAtMost(byte[] image, string context)
    {
        ImageReport report = Check(image);
        Assert.True(report.CorruptionCount == 0, $"{string.Join('\n', report.Findings)} {context}");
    }

    public static void Put(byte[] image, int at, int width, ulong value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        bytes[..width].CopyTo(image.AsSpan(at));
    }

    public static ulong Word(byte[] image, int at) => BinaryPrimitives.ReadUInt64LittleEndian(image.AsSpan(at));

    /// <summary>The state of a BAT entry in one of Fleece's own images.</summary>
    public static BatEntry Bat(byte[] image, int index) => new(Word(image, BatOffsetBytes + (index * sizeof(ulong))));

    /// <summary>The log_guid of the current header.</summary>
    public static Guid LogGuid(byte[] image) => VhdxHeaders.Read(new MemoryContainer(image, isReadOnly: true)).Current.LogGuid;

    /// <summary>Changes a field of both headers and seals them again.</summary>
    public static void PutInHeaders(byte[] image, int field, int width, ulong value)
    {
        foreach (long offsetBytes in VhdxFormat.HeaderOffsetsBytes)
        {
            Put(image, (int)offsetBytes + field, width, value);
            VhdxFormat.Seal(image.AsSpan((int)offsetBytes, VhdxFormat.PageBytes));
        }
    }

    /// <summary>Changes a field of both region tables and seals them again.</summary>
    public static void PutInRegionTables(byte[] image, int field, int width, ulong value)
    {
        foreach (long offsetBytes in (long[])[VhdxFormat.RegionTableOffsetBytes, VhdxFormat.RegionTableCopyOffsetBytes])
        {
            Put(image, (int)offsetBytes + field, width, value);
            VhdxFormat.Seal(image.AsSpan((int)offsetBytes, VhdxFormat.TableBytes));
        }
    }

    /// <summary>Puts a parent locator with these keys and values in the place of the one that a child of Fleece's own has.</summary>
    public static void RecordParent(string path, params (string Key, string Value)[] pairs)
    {
        byte[] image = File.ReadAllBytes(path);
        int entry = MetadataOffsetBytes + 32;
        while (new Guid(image.AsSpan(entry, 16)) != VhdxFormat.ParentLocatorItem)
        {
            entry += 32;
        }

        int item = MetadataOffsetBytes + (int)(uint)Word(image, entry + 16);
        Put(image, item + 18, 2, (ulong)pairs.Length);
        int at = 20 + (pairs.Length * 12);
        for (int i = 0; i < pairs.Length; i++)
        {
            int pair = item + 20 + (i * 12);
            (string Text, int Offset, int Length)[] texts = [(pairs[i].Key, 0, 8), (pairs[i].Value, 4, 10)];
            foreach ((string text, int offset, int length) in texts)
            {
                int textBytes = Encoding.Unicode.GetBytes(text, image.AsSpan(item + at));
                Put(image, pair + offset, 4, (ulong)at);
                Put(image, pair + length, 2, (ulong)textBytes);
                at += textBytes;
            }
        }

        Put(image, entry + 20, 4, (ulong)at);
        File.WriteAllBytes(path, image);
    }

    /// <summary>The identity of an image that its children record.</summary>
    public static Guid DataWriteGuid(string path)
    {
        using LocalContainer file = new(LocalFile.Open(path, isReadOnly: true));
        return VhdxHeaders.Read(file).Current.DataWriteGuid;
    }

    /// <summary>A random request on a node and on its reference; many span whole blocks of 1 MiB.</summary>
    public static async ValueTask RandomRequestAsync(IBlockNode node, ReferenceDisk disk, Seeds seeds)
    {
        BlockRange range = seeds.Range(disk.LengthBytes);
        range = new BlockRange(range.OffsetBytes, Math.Min(range.LengthBytes, 7 * MiB / 2));
        switch (seeds.Next(10))
        {
            case < 4:
                byte[] data = seeds.Bytes(range.LengthBytes);
                await node.WriteAsync(range.OffsetBytes, data, WriteFlags.None, CancellationToken.None);
                disk.Write(range.OffsetBytes, data);
                break;
            case 4:
                await node.WriteZeroesAsync(range.OffsetBytes, range.LengthBytes, WriteFlags.None, CancellationToken.None);
                disk.WriteZeroes(range);
                break;
            case 5:
                await node.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
                disk.Discard(range);
                break;
            case 6 when seeds.Chance(30):
                await node.FlushAsync(CancellationToken.None);
                break;
            default:
                byte[] read = new byte[range.LengthBytes];
                await node.ReadAsync(range.OffsetBytes, read, CancellationToken.None);
                disk.Check(range.OffsetBytes, read);
                break;
        }
    }

    private static ImageNode Open(IContainerFile file, ImageOpenOptions options, string path) =>
        (ImageNode)new VhdxDriver().Open(file, options, new ImageChain(path, ImageDrivers.Find));
}
