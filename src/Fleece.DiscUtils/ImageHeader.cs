// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.DiscUtils;

/// <summary>A sector with little-endian fields at known offsets, and the errors that name them.</summary>
/// <param name="file">The file it stands in.</param>
/// <param name="offsetBytes">Where it stands; a file that ends before is as one with zeros there.</param>
internal sealed class ImageHeader(LocalFile file, long offsetBytes)
{
    /// <summary>Size of a header, and of the sectors that images count in, in bytes.</summary>
    public const int SectorBytes = 512;

    /// <summary>Largest disk, in bytes: 64 TiB, as VHDX.</summary>
    public const long MaximumDiskBytes = 64L << 40;

    private readonly byte[] _bytes = ReadSector(file, offsetBytes);

    /// <summary>True when the header begins so.</summary>
    public bool BeginsWith(ReadOnlySpan<byte> magic) => _bytes.AsSpan().StartsWith(magic);

    /// <summary>A field of 16 bits.</summary>
    public ushort UInt16(int fieldOffsetBytes) => BinaryPrimitives.ReadUInt16LittleEndian(_bytes.AsSpan(fieldOffsetBytes));

    /// <summary>A field of 32 bits.</summary>
    public uint UInt32(int fieldOffsetBytes) => BinaryPrimitives.ReadUInt32LittleEndian(_bytes.AsSpan(fieldOffsetBytes));

    /// <summary>A field of 64 bits.</summary>
    public ulong UInt64(int fieldOffsetBytes) => BinaryPrimitives.ReadUInt64LittleEndian(_bytes.AsSpan(fieldOffsetBytes));

    /// <summary>Refuses a value that can't be.</summary>
    /// <exception cref="BlockException">Corrupt.</exception>
    public void Require(bool isMet, string field, ulong value, int fieldOffsetBytes)
    {
        if (!isMet)
        {
            throw Fault(ImageErrors.Corrupt, $"has {field} {value}, which can't be", fieldOffsetBytes);
        }
    }

    /// <summary>The error that names the file and the place.</summary>
    public BlockException Fault(string kind, string what, int fieldOffsetBytes) => new(
        kind,
        $"The image '{file.Path}' {what} (offset {offsetBytes + fieldOffsetBytes}). Check it with 'qemu-img info', or restore it " +
        "from a copy.",
        file.Path,
        offsetBytes + fieldOffsetBytes,
        "open");

    private static byte[] ReadSector(LocalFile file, long offsetBytes)
    {
        byte[] bytes = new byte[SectorBytes];
        _ = file.ReadUpTo(offsetBytes, bytes);
        return bytes;
    }
}
