// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;

namespace Fleece.Images.Tests.Example;

/// <summary>A format as small as one can be, which docs/formats/adding.md explains: a header, a table, and blocks.</summary>
/// <remarks>
/// <para>Layout, little-endian:</para>
/// <code>
///    0   8  magic "FLEECEEX"
///    8   8  size of the disk in bytes
///   16   -  an entry of 4 bytes for each block of 64 KiB: 0 where nothing is stored, else n for the n-th block of data
///    -   -  blocks of data, from the next multiple of 64 KiB on
/// </code>
/// </remarks>
internal sealed class ExampleDriver : IImageDriver
{
    /// <summary>A number that no format of Fleece has.</summary>
    public const ImageFormat ExampleFormat = (ImageFormat)(-1);

    public const int BlockBytes = 64 * 1024;
    public const int TableOffsetBytes = 16;

    private const int MaxBlocks = 1024 * 1024;

    public ImageFormat Format => ExampleFormat;

    private static ReadOnlySpan<byte> Magic => "FLEECEEX"u8;

    public static int CountBlocks(long sizeBytes) => (int)((sizeBytes + BlockBytes - 1) / BlockBytes);

    public bool Recognizes(IContainerFile file, ReadOnlySpan<byte> head) => head.StartsWith(Magic);

    public ImageClaims Measure(IContainerFile file)
    {
        long sizeBytes = ReadSize(file);
        return new ImageClaims(sizeBytes, CountBlocks(sizeBytes) * sizeof(uint));
    }

    public long FindEnd(IContainerFile file, UntrustedLimits? limits) => new ExampleMap(file, ReadSize(file), _ => { }).EndBytes;

    public IBlockNode Open(IContainerFile file, ImageOpenOptions options, ImageChain chain) => OpenNode(file);

    public IImageLayer OpenLayer(IContainerFile file, ImageOpenOptions options, ImageChain chain) => OpenNode(file);

    public ImageInfo Describe(IContainerFile file, ImageInfo info) =>
        info with { SizeBytes = ReadSize(file), Type = ImageType.Dynamic, BlockSizeBytes = BlockBytes };

    public void Create(IContainerFile file, ImageCreateOptions options, ParentImage? parent)
    {
        Span<byte> header = stackalloc byte[TableOffsetBytes];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt64LittleEndian(header[8..], options.SizeBytes!.Value);
        file.SetLength(ExampleMap.FindDataStart(CountBlocks(options.SizeBytes.Value)));
        file.Write(0, header);
        file.Flush();
    }

    // A child would know it by its name.
    public void TakeOverIdentity(IContainerFile file, IContainerFile other) => ReadSize(file);

    public ImageReport Check(IContainerFile file, ImageRepair repair, CancellationToken cancellationToken)
    {
        List<ImageFinding> findings = [];
        ExampleMap map = new(file, ReadSize(file), finding => findings.Add(new ImageFinding(ImageFindingKind.Corruption, finding)));
        long unusedBytes = file.GetLength() - map.EndBytes;
        if (unusedBytes > 0)
        {
            findings.Add(new ImageFinding(ImageFindingKind.Leak, $"{unusedBytes} bytes at the end are in no block.", map.EndBytes));
        }

        return new ImageReport
        {
            Path = file.Path,
            Format = Format,
            LeakCount = findings.Count(finding => finding.Kind == ImageFindingKind.Leak),
            LeakedBytes = Math.Max(0, unusedBytes),
            CorruptionCount = findings.Count(finding => finding.Kind == ImageFindingKind.Corruption),
            Findings = findings,
        };
    }

    private static ImageNode OpenNode(IContainerFile file)
    {
        ExampleMap map = new(file, ReadSize(file), finding => throw Corrupt(file, finding));
        return new ImageNode(file, map, parent: null);
    }

    // Everything that sizes an allocation is judged before it does (rule R5).
    private static long ReadSize(IContainerFile file)
    {
        Span<byte> header = stackalloc byte[TableOffsetBytes];
        file.Read(0, header);
        if (!header.StartsWith(Magic))
        {
            throw new BlockException(ImageErrors.WrongFormat, $"'{file.Path}' is no example image.", file.Path);
        }

        long sizeBytes = BinaryPrimitives.ReadInt64LittleEndian(header[8..]);
        return sizeBytes is > 0 and <= (long)MaxBlocks * BlockBytes ? sizeBytes : throw Corrupt(file, $"its disk has {sizeBytes} bytes");
    }

    private static BlockException Corrupt(IContainerFile file, string what) =>
        new(ImageErrors.Corrupt, $"The example image '{file.Path}' is damaged: {what}.", file.Path);
}
