// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>A new, empty image.</summary>
/// <remarks>
/// <code>
/// fixed                        dynamic and differencing
/// 0      the disk, a hole      0      copy of the footer
/// then   footer                512    header
///                              1536   block allocation table, all free, in whole sectors
///                              then   parent locators, a sector or more each
///                              then   footer
/// </code>
/// </remarks>
internal sealed record VhdLayout
{
    private const long TableOffsetBytes = VhdFooter.LengthBytes + VhdHeader.LengthBytes;

    public required VhdDiskType Type { get; init; }

    public required long SizeBytes { get; init; }

    public int BlockBytes { get; init; } = VhdLimits.DefaultBlockBytes;

    public Guid UniqueId { get; init; } = Guid.NewGuid();

    public uint Timestamp { get; init; } = VhdFooter.ToTimestamp(DateTime.UtcNow);

    /// <summary>Full path of the parent of a differencing image.</summary>
    public string? ParentPath { get; init; }

    public Guid ParentId { get; init; }

    /// <summary>When the parent's file was written last.</summary>
    public uint ParentTimestamp { get; init; }

    /// <summary>Writes the image into an empty file and makes it durable.</summary>
    public void WriteTo(IContainerFile file)
    {
        VhdFooter footer = VhdFooter.Create(Type, SizeBytes, UniqueId, Timestamp);
        long endBytes = SizeBytes;
        if (Type != VhdDiskType.Fixed)
        {
            long entries = ((SizeBytes - 1) / BlockBytes) + 1;
            endBytes = TableOffsetBytes + RoundUp(entries * sizeof(uint));
            byte[] header = MakeHeader((uint)entries);
            if (ParentPath is not null)
            {
                endBytes = AddParent(file, header, endBytes);
            }

            BinaryPrimitives.WriteUInt32BigEndian(
                header.AsSpan(VhdHeader.ChecksumField), VhdChecksum.Compute(header, VhdHeader.ChecksumField));
            file.Write(0, footer.Bytes);
            file.Write(VhdFooter.LengthBytes, header);
            WriteTable(file, TableOffsetBytes + RoundUp(entries * sizeof(uint)));
        }

        file.Write(endBytes, footer.Bytes);
        file.Flush();
    }

    private static void WriteTable(IContainerFile file, long endBytes)
    {
        byte[] free = new byte[VhdLimits.TableChunkBytes];
        free.AsSpan().Fill(0xff);
        for (long atBytes = TableOffsetBytes; atBytes < endBytes; atBytes += free.Length)
        {
            file.Write(atBytes, free.AsSpan(0, (int)Math.Min(free.Length, endBytes - atBytes)));
        }
    }

    private static long RoundUp(long bytes) => (bytes + VhdLimits.SectorBytes - 1) & -VhdLimits.SectorBytes;

    private byte[] MakeHeader(uint entries)
    {
        byte[] header = new byte[VhdHeader.LengthBytes];
        VhdHeader.Cookie.CopyTo(header);
        BinaryPrimitives.WriteUInt64BigEndian(header.AsSpan(8), VhdFooter.NoDataOffset);
        BinaryPrimitives.WriteInt64BigEndian(header.AsSpan(16), TableOffsetBytes);
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(24), VhdFooter.Version1);
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(28), entries);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(32), BlockBytes);
        return header;
    }

    private long AddParent(IContainerFile file, byte[] header, long endBytes)
    {
        _ = ParentId.TryWriteBytes(header.AsSpan(40), bigEndian: true, out _);
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(56), ParentTimestamp);
        byte[] name = Encoding.BigEndianUnicode.GetBytes(Path.GetFileName(ParentPath!));
        name.AsSpan(0, Math.Min(name.Length, VhdHeader.ParentNameBytes)).CopyTo(header.AsSpan(VhdHeader.ParentNameField));
        int entryAt = VhdHeader.LocatorField;
        foreach ((uint platform, byte[] bytes) in VhdParentLocators.Make(file.Path, ParentPath!))
        {
            // The space is written in bytes, as Windows writes it.
            int spaceBytes = (int)RoundUp(bytes.Length);
            BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(entryAt), platform);
            BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(entryAt + 4), spaceBytes);
            BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(entryAt + 8), bytes.Length);
            BinaryPrimitives.WriteInt64BigEndian(header.AsSpan(entryAt + 16), endBytes);
            file.Write(endBytes, bytes);
            entryAt += VhdHeader.LocatorBytes;
            endBytes += spaceBytes;
        }

        return endBytes;
    }
}
