// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Vhdx.Structures;

/// <summary>The metadata items Fleece knows, as bytes (MS-VHDX section 2.6.1).</summary>
internal sealed class MetadataItems
{
    private static readonly HashSet<Guid> Known =
    [
        VhdxFormat.FileParametersItem,
        VhdxFormat.VirtualDiskSizeItem,
        VhdxFormat.VirtualDiskIdItem,
        VhdxFormat.LogicalSectorSizeItem,
        VhdxFormat.PhysicalSectorSizeItem,
        VhdxFormat.ParentLocatorItem,
    ];

    private readonly string _path;
    private readonly Dictionary<Guid, byte[]> _items = [];

    private MetadataItems(string path) => _path = path;

    /// <exception cref="BlockException">Corrupt, Unsupported.</exception>
    public static MetadataItems Read(IContainerFile file, BlockRange region)
    {
        byte[] table = new byte[VhdxFormat.TableBytes];
        file.Read(region.OffsetBytes, table);
        if (BinaryPrimitives.ReadUInt64LittleEndian(table) != VhdxMetadata.Signature)
        {
            throw FormatFault.Vhdx.Corrupt(
                file.Path, "its metadata table does not have the signature 'metadata'", region.OffsetBytes);
        }

        int count = BinaryPrimitives.ReadUInt16LittleEndian(table.AsSpan(10));
        if (count > VhdxLimits.MaxTableEntries)
        {
            throw FormatFault.Vhdx.Corrupt(
                file.Path,
                $"the metadata table's entry_count is {count}, {VhdxLimits.MaxTableEntries} is the most it can hold",
                region.OffsetBytes);
        }

        MetadataItems items = new(file.Path);
        for (int i = 0; i < count; i++)
        {
            items.Add(file, region, table.AsSpan(VhdxMetadata.HeaderBytes + (i * VhdxMetadata.EntryBytes), VhdxMetadata.EntryBytes));
        }

        return items;
    }

    public byte[]? Find(Guid item) => _items.GetValueOrDefault(item);

    public byte[] Require(Guid item, string name, int leastBytes) => Find(item) switch
    {
        null => throw FormatFault.Vhdx.Corrupt(_path, $"it has no metadata item {name} ({item})"),
        { } bytes when bytes.Length >= leastBytes => bytes,
        { } bytes => throw FormatFault.Vhdx.Corrupt(
            _path, $"its metadata item {name} has a length of {bytes.Length} bytes, {leastBytes} is the least"),
    };

    private void Add(IContainerFile file, BlockRange region, ReadOnlySpan<byte> entry)
    {
        Guid item = new(entry[..16]);
        uint offsetBytes = BinaryPrimitives.ReadUInt32LittleEndian(entry[16..]);
        uint lengthBytes = BinaryPrimitives.ReadUInt32LittleEndian(entry[20..]);
        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(entry[24..]);
        if (!Known.Contains(item))
        {
            if ((flags & VhdxMetadata.RequiredFlag) != 0)
            {
                throw FormatFault.Vhdx.Unsupported(_path, $"it has the required metadata item {item}, which Fleece does not know");
            }

            return;
        }

        if (lengthBytes > VhdxLimits.MaxItemBytes || offsetBytes < VhdxFormat.TableBytes
            || offsetBytes + (long)lengthBytes > region.LengthBytes)
        {
            throw FormatFault.Vhdx.Corrupt(
                _path,
                $"its metadata item {item} has the offset {offsetBytes} and the length {lengthBytes}, which is not within the " +
                $"metadata region of {region.LengthBytes} bytes behind its table, or more than 1 MiB",
                region.OffsetBytes);
        }

        byte[] bytes = new byte[lengthBytes];
        if (!_items.TryAdd(item, bytes))
        {
            throw FormatFault.Vhdx.Corrupt(_path, $"its metadata table names the item {item} twice", region.OffsetBytes);
        }

        file.Read(region.OffsetBytes + offsetBytes, bytes);
    }
}
