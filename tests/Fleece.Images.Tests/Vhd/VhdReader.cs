// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Xunit;

namespace Fleece.Images.Tests.Vhd;

/// <summary>A second, simple reading of the format, which shares nothing with the driver: the oracle of chains, which neither QEMU
/// nor libvhdi reads right.</summary>
internal sealed class VhdReader
{
    private const int SectorBytes = 512;

    private readonly byte[] _image;
    private readonly int _footerAt;
    private readonly byte[]? _parent;

    /// <summary>Takes the image apart.</summary>
    /// <param name="image">The file.</param>
    /// <param name="parent">What the parent's disk holds; null for zeros.</param>
    public VhdReader(byte[] image, byte[]? parent = null)
    {
        _image = image;
        _parent = parent;
        _footerAt = image.Length - SectorBytes;
        string cookie = Encoding.ASCII.GetString(image, _footerAt, 8);
        Assert.Equal("conectix", cookie);
        CheckSum(_footerAt, SectorBytes, 64, "the footer at the end");
    }

    private int Type => (int)Word(_footerAt + 60);

    // The images of these tests say their size there.
    private int SizeBytes => (int)Word(_footerAt + 52);

    public static Guid UniqueId(byte[] image) => new(image.AsSpan(image.Length - SectorBytes + 68, 16), bigEndian: true);

    /// <summary>What a file's disk holds, with its parents, which lie beside it by the name in the header.</summary>
    public static byte[] ReadFile(string path)
    {
        byte[] image = File.ReadAllBytes(path);
        VhdReader reader = new(image);
        if (reader.Type != 4)
        {
            return reader.Read();
        }

        string name = Encoding.BigEndianUnicode.GetString(image, 512 + 64, 512).TrimEnd('\0');
        string parentPath = Path.Combine(Path.GetDirectoryName(path)!, name);
        byte[] parentImage = File.ReadAllBytes(parentPath);
        Assert.Equal(UniqueId(parentImage), new Guid(image.AsSpan(512 + 40, 16), bigEndian: true));
        return new VhdReader(image, ReadFile(parentPath)).Read();
    }

    /// <summary>Fails the test when the image says anything that contradicts itself.</summary>
    public void Audit(string context)
    {
        CheckSum(0, SectorBytes, 64, $"the copy of the footer; {context}");
        CheckSum(512, 1024, 36, $"the header; {context}");
        int blockBytes = (int)Word(512 + 32);
        int strideBytes = blockBytes + BitmapBytes(blockBytes);
        List<long> starts = [];
        for (int block = 0; block < (SizeBytes + blockBytes - 1) / blockBytes; block++)
        {
            uint sector = Word(1536 + (block * 4));
            if (sector != uint.MaxValue)
            {
                starts.Add((long)sector * SectorBytes);
            }
        }

        starts.Sort();
        for (int i = 0; i < starts.Count; i++)
        {
            long endBytes = i + 1 < starts.Count ? starts[i + 1] : _footerAt;
            bool isBehindTables = starts[i] >= 1536 + ((SizeBytes + blockBytes - 1) / blockBytes * 4);
            if (!isBehindTables || starts[i] + strideBytes > endBytes)
            {
                Assert.Fail($"The block at {starts[i]} overlaps what is at {endBytes} or the tables; {context}");
            }
        }
    }

    /// <summary>What the disk holds.</summary>
    public byte[] Read()
    {
        if (Type == 2)
        {
            return _image[..SizeBytes];
        }

        byte[] content = new byte[SizeBytes];
        _parent?.AsSpan(0, Math.Min(_parent.Length, SizeBytes)).CopyTo(content);
        int blockBytes = (int)Word(512 + 32);
        for (int at = 0; at < SizeBytes; at += SectorBytes)
        {
            uint sector = Word(1536 + (at / blockBytes * 4));
            if (sector == uint.MaxValue)
            {
                continue;
            }

            int blockAt = (int)(sector * (long)SectorBytes);
            int inBlock = at % blockBytes / SectorBytes;
            bool isHere = (_image[blockAt + (inBlock / 8)] & (0x80 >> (inBlock % 8))) != 0;
            if (isHere || Type == 3)
            {
                int dataAt = blockAt + BitmapBytes(blockBytes) + (inBlock * SectorBytes);
                _image.AsSpan(dataAt, SectorBytes).CopyTo(content.AsSpan(at));
            }
        }

        return content;
    }

    private static int BitmapBytes(int blockBytes) => Math.Max(1, (blockBytes / SectorBytes / 8 + 511) / 512) * 512;

    private uint Word(int at) => BinaryPrimitives.ReadUInt32BigEndian(_image.AsSpan(at));

    private void CheckSum(int at, int lengthBytes, int field, string what)
    {
        uint sum = 0;
        for (int i = 0; i < lengthBytes; i++)
        {
            sum += i >= field && i < field + 4 ? 0u : _image[at + i];
        }

        Assert.True(~sum == Word(at + field), $"The checksum of {what} is wrong.");
    }
}
