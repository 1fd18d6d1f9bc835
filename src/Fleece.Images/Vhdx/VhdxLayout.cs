// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using System.Text;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>A new image.</summary>
/// <remarks>
/// <code>
/// 0      identifier, headers, region tables
/// 1 MiB  log
/// 2 MiB  metadata
/// 3 MiB  BAT, whole MiB long
/// then   the blocks of a fixed image, in order
/// </code>
/// </remarks>
internal sealed class VhdxLayout
{
    private const long LogOffsetBytes = VhdxFormat.MiB;
    private const long MetadataOffsetBytes = LogOffsetBytes + VhdxLimits.NewLogBytes;
    private const long MetadataLengthBytes = VhdxFormat.MiB;
    private const long BatOffsetBytes = MetadataOffsetBytes + MetadataLengthBytes;
    private const int PhysicalSectorBytes = 4096;
    private const uint VirtualDiskFlag = 2;
    private const int BatPieceBytes = 1024 * 1024;

    private readonly VhdxMetadata _metadata;

    /// <exception cref="Fleece.Block.BlockException">InvalidArgument.</exception>
    public VhdxLayout(string path, ImageCreateOptions options, ParentImage? parent)
    {
        CheckOptions(path, options, parent);
        VhdxMap? parentMap = FindMap(parent);
        int sectorBytes = options.LogicalSectorSizeBytes ?? parentMap?.SectorBytes ?? 512;
        int defaultBytes = parent is null ? VhdxLimits.DefaultBlockBytes : VhdxLimits.DefaultDifferencingBlockBytes;
        _metadata = new VhdxMetadata
        {
            BlockBytes = options.BlockSizeBytes ?? defaultBytes,
            IsFixed = options.IsFixed,
            HasParent = parent is not null,
            SizeBytes = options.SizeBytes!.Value,
            SectorBytes = sectorBytes,
            DiskId = Guid.NewGuid(),
            Locator = parentMap is null ? null : new ParentLocator(path, parent!.Layer.Path, parentMap.DataWriteGuid),
        };
        CheckSizes(path, parentMap, parent?.Layer.LengthBytes);
    }

    private long BatLengthBytes => VhdxFormat.RoundUpToMiB(_metadata.BatEntryCount * sizeof(ulong));

    public void WriteTo(IContainerFile file)
    {
        long blocksOffsetBytes = BatOffsetBytes + BatLengthBytes;
        file.SetLength(blocksOffsetBytes + (_metadata.IsFixed ? _metadata.BlockCount * _metadata.BlockBytes : 0));
        if (_metadata.IsFixed)
        {
            WriteFixedBat(file, blocksOffsetBytes);
        }

        file.Write(MetadataOffsetBytes, MetadataRegion());
        byte[] regions = RegionTableBytes();
        file.Write(VhdxFormat.RegionTableOffsetBytes, regions);
        file.Write(VhdxFormat.RegionTableCopyOffsetBytes, regions);
        VhdxHeader header = new()
        {
            SequenceNumber = 1,
            FileWriteGuid = Guid.NewGuid(),
            DataWriteGuid = Guid.NewGuid(),
            LogGuid = Guid.Empty,
            LogOffsetBytes = LogOffsetBytes,
            LogLengthBytes = VhdxLimits.NewLogBytes,
        };
        header.WriteTo(file, VhdxFormat.HeaderOffsetsBytes[0]);
        (header with { SequenceNumber = 2 }).WriteTo(file, VhdxFormat.HeaderOffsetsBytes[1]);
        byte[] identifier = new byte[VhdxFormat.TableBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(identifier, VhdxFormat.FileSignature);
        Encoding.Unicode.GetBytes("Fleece", identifier.AsSpan(VhdxFormat.CreatorField));
        file.Write(0, identifier);
        file.Flush();
    }

    private static VhdxMap? FindMap(ParentImage? parent) => (parent?.Layer as ImageNode)?.Map as VhdxMap;

    private static void CheckOptions(string path, ImageCreateOptions options, ParentImage? parent)
    {
        if (options.Compression != ImageCompression.None || options.RefcountBits is not null || options.HasSubclusters
            || options.DataFilePath is not null || options.Version is not null)
        {
            throw VhdxFault.Invalid(
                path, "compression, refcount bits, subclusters, a data file and a version are qcow2's. Leave them out, or choose qcow2");
        }

        if (options.IsFixed && parent is not null)
        {
            throw VhdxFault.Invalid(path, "an image with a parent grows with what is written, it can't be fixed. Choose one of both");
        }

        if (parent is not null && FindMap(parent) is null)
        {
            throw VhdxFault.Invalid(
                path, $"its parent '{parent.Layer.Path}' is a {parent.Layer.Format} image, a VHDX's parent must be a VHDX too. " +
                "Convert it, or choose qcow2, whose parents may have any format");
        }
    }

    private void CheckSizes(string path, VhdxMap? parent, long? parentBytes)
    {
        if (!BitOperations.IsPow2(_metadata.BlockBytes)
            || _metadata.BlockBytes is < VhdxLimits.MinBlockBytes or > VhdxLimits.MaxBlockBytes)
        {
            throw VhdxFault.Invalid(
                path, $"a block has {_metadata.BlockBytes} bytes, it must be a power of two from {VhdxLimits.MinBlockBytes} to " +
                $"{VhdxLimits.MaxBlockBytes}");
        }

        if (_metadata.SectorBytes is not (512 or 4096))
        {
            throw VhdxFault.Invalid(path, $"a logical sector has {_metadata.SectorBytes} bytes, it must be 512 or 4096");
        }

        if (_metadata.SizeBytes > VhdxLimits.MaxDiskBytes || _metadata.SizeBytes % _metadata.SectorBytes != 0)
        {
            throw VhdxFault.Invalid(
                path, $"the disk has {_metadata.SizeBytes} bytes, it must be a multiple of its sector of {_metadata.SectorBytes} bytes " +
                $"up to {VhdxLimits.MaxDiskBytes}");
        }

        if (parent is not null && (_metadata.SectorBytes != parent.SectorBytes || _metadata.SizeBytes < parentBytes))
        {
            throw VhdxFault.Invalid(
                path,
                $"it has {_metadata.SizeBytes} bytes in sectors of {_metadata.SectorBytes}, its parent {parentBytes} bytes in sectors of " +
                $"{parent.SectorBytes}: the sectors must be the same and the disk no smaller");
        }
    }

    private void WriteFixedBat(IContainerFile file, long blocksOffsetBytes)
    {
        byte[] piece = new byte[BatPieceBytes];
        long index = 0;
        long block = 0;
        while (index < _metadata.BatEntryCount)
        {
            int count = (int)Math.Min(BatPieceBytes / sizeof(ulong), _metadata.BatEntryCount - index);
            for (int i = 0; i < count; i++)
            {
                bool isBitmap = (index + i) % (_metadata.ChunkRatio + 1) == _metadata.ChunkRatio;
                BatEntry entry = isBitmap
                    ? default
                    : new BatEntry(BlockState.FullyPresent, blocksOffsetBytes + (block++ * _metadata.BlockBytes));
                BinaryPrimitives.WriteUInt64LittleEndian(piece.AsSpan(i * sizeof(ulong)), entry.Value);
            }

            file.Write(BatOffsetBytes + (index * sizeof(ulong)), piece.AsSpan(0, count * sizeof(ulong)));
            index += count;
        }
    }

    private byte[] RegionTableBytes()
    {
        byte[] table = new byte[VhdxFormat.TableBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(table, RegionTable.Signature);
        BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(8), 2);
        WriteRegion(table.AsSpan(RegionTable.HeaderBytes), VhdxFormat.BatRegion, BatOffsetBytes, BatLengthBytes);
        WriteRegion(
            table.AsSpan(RegionTable.HeaderBytes + RegionTable.EntryBytes),
            VhdxFormat.MetadataRegion,
            MetadataOffsetBytes,
            MetadataLengthBytes);
        VhdxFormat.Seal(table);
        return table;
    }

    private static void WriteRegion(Span<byte> entry, Guid region, long offsetBytes, long lengthBytes)
    {
        region.TryWriteBytes(entry);
        BinaryPrimitives.WriteInt64LittleEndian(entry[16..], offsetBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[24..], (uint)lengthBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(entry[28..], 1);
    }

    private byte[] MetadataRegion()
    {
        List<(Guid Item, byte[] Bytes, uint Flags)> items =
        [
            (VhdxFormat.FileParametersItem, FileParameters(), VhdxMetadata.RequiredFlag),
            (VhdxFormat.VirtualDiskSizeItem, Number64(_metadata.SizeBytes), VhdxMetadata.RequiredFlag | VirtualDiskFlag),
            (VhdxFormat.VirtualDiskIdItem, _metadata.DiskId!.Value.ToByteArray(), VhdxMetadata.RequiredFlag | VirtualDiskFlag),
            (VhdxFormat.LogicalSectorSizeItem, Number32(_metadata.SectorBytes), VhdxMetadata.RequiredFlag | VirtualDiskFlag),
            (VhdxFormat.PhysicalSectorSizeItem, Number32(PhysicalSectorBytes), VhdxMetadata.RequiredFlag | VirtualDiskFlag),
        ];
        if (_metadata.Locator is { } locator)
        {
            items.Add((VhdxFormat.ParentLocatorItem, locator.ToBytes(), VhdxMetadata.RequiredFlag));
        }

        byte[] region = new byte[VhdxFormat.TableBytes + items.Sum(item => item.Bytes.Length)];
        BinaryPrimitives.WriteUInt64LittleEndian(region, VhdxMetadata.Signature);
        BinaryPrimitives.WriteUInt16LittleEndian(region.AsSpan(10), (ushort)items.Count);
        Span<byte> entry = region.AsSpan(VhdxMetadata.HeaderBytes);
        int atBytes = VhdxFormat.TableBytes;
        foreach ((Guid item, byte[] bytes, uint flags) in items)
        {
            item.TryWriteBytes(entry);
            BinaryPrimitives.WriteInt32LittleEndian(entry[16..], atBytes);
            BinaryPrimitives.WriteInt32LittleEndian(entry[20..], bytes.Length);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[24..], flags);
            bytes.CopyTo(region, atBytes);
            atBytes += bytes.Length;
            entry = entry[VhdxMetadata.EntryBytes..];
        }

        return region;
    }

    private byte[] FileParameters()
    {
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, _metadata.BlockBytes);
        uint flags = (_metadata.IsFixed ? VhdxMetadata.LeaveBlocksAllocatedFlag : 0)
            | (_metadata.HasParent ? VhdxMetadata.HasParentFlag : 0);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), flags);
        return bytes;
    }

    private static byte[] Number32(int value)
    {
        byte[] bytes = new byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        return bytes;
    }

    private static byte[] Number64(long value)
    {
        byte[] bytes = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
        return bytes;
    }
}
