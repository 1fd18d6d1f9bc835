// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>A page that an entry of a crafted log changes; without content that many bytes of zeros.</summary>
internal sealed record LoggedChange(long OffsetBytes, byte[]? Page = null, long ZeroBytes = 0);

/// <summary>Puts log entries into one of Fleece's own images, as a program that died would leave them.</summary>
internal sealed class CraftedLog
{
    private const int LogBytes = VhdxImages.MiB;
    private const int SectorBytes = 4096;

    private readonly byte[] _image;
    private readonly Guid _guid = Guid.NewGuid();

    public CraftedLog(byte[] image, int positionBytes = 0)
    {
        _image = image;
        PositionBytes = positionBytes;
        Span<byte> guid = _guid.ToByteArray();
        VhdxImages.PutInHeaders(image, 48, 8, BinaryPrimitives.ReadUInt64LittleEndian(guid));
        VhdxImages.PutInHeaders(image, 56, 8, BinaryPrimitives.ReadUInt64LittleEndian(guid[8..]));
    }

    /// <summary>Where in the log the next entry goes.</summary>
    public int PositionBytes { get; set; }

    /// <summary>The file length that entries claim; null for the image's own.</summary>
    public long? FlushedBytes { get; set; }

    /// <summary>The length a replay gives the file; null for the image's own.</summary>
    public long? LastBytes { get; set; }

    /// <summary>Adds an entry, whose tail is the position of the first entry to replay.</summary>
    public void Add(ulong sequence, int tailBytes, params ReadOnlySpan<LoggedChange> changes)
    {
        int areaBytes = ((64 + (changes.Length * 32) + SectorBytes - 1) / SectorBytes) * SectorBytes;
        List<byte[]> pages = [];
        byte[] area = new byte[areaBytes];
        for (int i = 0; i < changes.Length; i++)
        {
            LoggedChange change = changes[i];
            Span<byte> descriptor = area.AsSpan(64 + (i * 32), 32);
            BinaryPrimitives.WriteUInt32LittleEndian(descriptor, change.Page is null ? 0x6f72657au : 0x63736564u);
            BinaryPrimitives.WriteInt64LittleEndian(descriptor[16..], change.OffsetBytes);
            BinaryPrimitives.WriteUInt64LittleEndian(descriptor[24..], sequence);
            if (change.Page is null)
            {
                BinaryPrimitives.WriteInt64LittleEndian(descriptor[8..], change.ZeroBytes);
                continue;
            }

            change.Page.AsSpan(SectorBytes - 4).CopyTo(descriptor[4..]);
            change.Page.AsSpan(0, 8).CopyTo(descriptor[8..]);
            byte[] sector = (byte[])change.Page.Clone();
            BinaryPrimitives.WriteUInt32LittleEndian(sector, 0x61746164);
            BinaryPrimitives.WriteUInt32LittleEndian(sector.AsSpan(4), (uint)(sequence >> 32));
            BinaryPrimitives.WriteUInt32LittleEndian(sector.AsSpan(SectorBytes - 4), (uint)sequence);
            pages.Add(sector);
        }

        byte[] entry = [.. area, .. pages.SelectMany(page => page)];
        BinaryPrimitives.WriteUInt32LittleEndian(entry, 0x65676f6c);
        BinaryPrimitives.WriteInt32LittleEndian(entry.AsSpan(8), entry.Length);
        BinaryPrimitives.WriteInt32LittleEndian(entry.AsSpan(12), tailBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(entry.AsSpan(16), sequence);
        BinaryPrimitives.WriteInt32LittleEndian(entry.AsSpan(24), changes.Length);
        _guid.TryWriteBytes(entry.AsSpan(32));
        BinaryPrimitives.WriteInt64LittleEndian(entry.AsSpan(48), FlushedBytes ?? _image.Length);
        BinaryPrimitives.WriteInt64LittleEndian(entry.AsSpan(56), LastBytes ?? _image.Length);
        VhdxFormat.Seal(entry);
        for (int i = 0; i < entry.Length; i++)
        {
            _image[VhdxImages.LogOffsetBytes + ((PositionBytes + i) % LogBytes)] = entry[i];
        }

        PositionBytes = (PositionBytes + entry.Length) % LogBytes;
    }

    /// <summary>A page of the image, to be changed.</summary>
    public byte[] Page(int offsetBytes) => _image.AsSpan(offsetBytes, SectorBytes).ToArray();
}
