// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Xunit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>
/// A second, simple reading of the format (MS-VHDX) that shares no code with the driver: all of a disk, its parents included, from
/// images whose log is empty. No other program here reads chains of three images, or sectors of 4 KiB.
/// </summary>
internal sealed class VhdxReader
{
    private readonly byte[] _file;
    private readonly string _path;
    private readonly int _bat;
    private readonly Dictionary<Guid, byte[]> _items = [];

    private VhdxReader(string path)
    {
        _path = path;
        _file = File.ReadAllBytes(path);
        Assert.Equal("vhdxfile", Encoding.ASCII.GetString(_file, 0, 8));
        int header = Number64(0x10008) > Number64(0x20008) ? 0x10000 : 0x20000;
        Assert.Equal(Guid.Empty, GuidAt(header + 48));
        int metadata = 0;
        for (int i = 0; i < Number32(0x30008); i++)
        {
            int entry = 0x30010 + (i * 32);
            if (GuidAt(entry) == new Guid("2dc27766-f623-4200-9d64-115e9bfd4a08"))
            {
                _bat = (int)Number64(entry + 16);
            }
            else
            {
                metadata = (int)Number64(entry + 16);
            }
        }

        for (int i = 0; i < (ushort)Number32(metadata + 10); i++)
        {
            int entry = metadata + 32 + (i * 32);
            _items[GuidAt(entry)] = _file.AsSpan(metadata + Number32(entry + 16), Number32(entry + 20)).ToArray();
        }
    }

    /// <summary>The bytes of the disk.</summary>
    public static byte[] Read(string path)
    {
        VhdxReader reader = new(path);
        byte[] parameters = reader._items[new Guid("caa16737-fa36-4d43-b3b6-33f0aa44e76b")];
        int blockBytes = BinaryPrimitives.ReadInt32LittleEndian(parameters);
        bool hasParent = (parameters[4] & 2) != 0;
        int sectorBytes = BinaryPrimitives.ReadInt32LittleEndian(reader._items[new Guid("8141bf1d-a96f-4709-ba47-f233a8faab5f")]);
        long sizeBytes = BinaryPrimitives.ReadInt64LittleEndian(reader._items[new Guid("2fa54224-cd1b-4876-b211-5dbed83bf4b8")]);
        byte[] disk = new byte[sizeBytes];
        if (hasParent)
        {
            Read(reader.ParentPath()).AsSpan().CopyTo(disk);
        }

        reader.Overlay(disk, blockBytes, sectorBytes);
        return disk;
    }

    private void Overlay(byte[] disk, int blockBytes, int sectorBytes)
    {
        int ratio = (int)((1L << 23) * sectorBytes / blockBytes);
        for (int block = 0; (long)block * blockBytes < disk.Length; block++)
        {
            int chunk = block / ratio;
            long entry = Number64(_bat + ((block + chunk) * 8));
            long bitmap = Number64(_bat + (((chunk * (ratio + 1)) + ratio) * 8)) >> 20 << 20;
            for (int at = 0; at < blockBytes && ((long)block * blockBytes) + at < disk.Length; at += sectorBytes)
            {
                Span<byte> sector = disk.AsSpan((block * blockBytes) + at, sectorBytes);
                int bit = (block % ratio * (blockBytes / sectorBytes)) + (at / sectorBytes);
                switch (entry & 7)
                {
                    case 0:
                    case 7 when (_file[bitmap + (bit / 8)] >> (bit % 8) & 1) == 0:
                        break;
                    case 6 or 7:
                        _file.AsSpan((int)(entry >> 20 << 20) + at, sectorBytes).CopyTo(sector);
                        break;
                    default:
                        sector.Clear();
                        break;
                }
            }
        }
    }

    private string ParentPath()
    {
        byte[] locator = _items[new Guid("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")];
        for (int i = 0; i < BinaryPrimitives.ReadUInt16LittleEndian(locator.AsSpan(18)); i++)
        {
            ReadOnlySpan<byte> pair = locator.AsSpan(20 + (i * 12), 12);
            string key = Text(locator, pair[0..], pair[8..]);
            if (key == "relative_path")
            {
                return Path.Combine(Path.GetDirectoryName(_path)!, Text(locator, pair[4..], pair[10..]).Replace('\\', '/'));
            }
        }

        throw new InvalidDataException("no relative_path");
    }

    private static string Text(byte[] locator, ReadOnlySpan<byte> offset, ReadOnlySpan<byte> length) => Encoding.Unicode.GetString(
        locator, BinaryPrimitives.ReadInt32LittleEndian(offset), BinaryPrimitives.ReadUInt16LittleEndian(length));

    private Guid GuidAt(int at) => new(_file.AsSpan(at, 16));

    private int Number32(int at) => BinaryPrimitives.ReadInt32LittleEndian(_file.AsSpan(at));

    private long Number64(int at) => BinaryPrimitives.ReadInt64LittleEndian(_file.AsSpan(at));
}
