// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2.Bitmaps;

/// <summary>The extensions behind an image's header, as a list that can be changed and written back.</summary>
/// <remarks>
/// Layout (qcow2.txt, "Header extensions"): 4 bytes type, 4 bytes length, data, padded to 8; type 0 ends the list. They lie in the first
/// cluster, before the name of the backing file.
/// </remarks>
internal sealed class HeaderExtensions
{
    private const uint End = 0;
    private const int HeadBytes = 8;
    private const int BackingFileOffsetField = 8;

    private readonly string _path;
    private readonly long _startBytes;
    private readonly long _limitBytes;
    private readonly List<(uint Type, byte[] Data)> _items = [];
    private long _endBytes;

    private HeaderExtensions(string path, long startBytes, long limitBytes)
    {
        _path = path;
        _startBytes = startBytes;
        _limitBytes = limitBytes;
        _endBytes = startBytes;
    }

    /// <exception cref="Fleece.Block.BlockException">Corrupt: an extension reaches behind the room for them.</exception>
    public static HeaderExtensions Read(IContainerFile file, Qcow2Header header)
    {
        Span<byte> field = stackalloc byte[sizeof(long)];
        file.Read(BackingFileOffsetField, field);
        long nameBytes = BinaryPrimitives.ReadInt64BigEndian(field);
        long limitBytes = nameBytes >= header.HeaderLengthBytes && nameBytes < header.ClusterBytes ? nameBytes : header.ClusterBytes;
        HeaderExtensions extensions = new(file.Path, header.HeaderLengthBytes, limitBytes);
        extensions.ReadItems(file);
        return extensions;
    }

    /// <summary>The data of the extension of that type, or null.</summary>
    public byte[]? Find(uint type) => _items.Find(item => item.Type == type).Data;

    /// <summary>Puts an extension in, or another in its place; null takes it out.</summary>
    public void Set(uint type, byte[]? data)
    {
        _items.RemoveAll(item => item.Type == type);
        if (data is not null)
        {
            _items.Add((type, data));
        }
    }

    /// <summary>Writes the list with one write.</summary>
    /// <exception cref="Fleece.Block.BlockException">Unsupported: the first cluster has no room for it.</exception>
    public void Write(MetadataFile file)
    {
        long lengthBytes = _items.Sum(item => HeadBytes + Padded(item.Data.Length)) + HeadBytes;
        if (_startBytes + lengthBytes > _limitBytes)
        {
            throw Qcow2Fault.Unsupported(
                _path,
                $"its first cluster has no room for one more header extension: {lengthBytes} bytes are needed, and there are " +
                $"{_limitBytes - _startBytes}");
        }

        // What was there before is overwritten to its end, so that nothing of it stands behind the list.
        byte[] bytes = new byte[Math.Max(lengthBytes, _endBytes - _startBytes)];
        int at = 0;
        foreach ((uint type, byte[] data) in _items)
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(at), type);
            BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(at + sizeof(uint)), data.Length);
            data.CopyTo(bytes, at + HeadBytes);
            at += HeadBytes + (int)Padded(data.Length);
        }

        file.Write(_startBytes, bytes);
    }

    private void ReadItems(IContainerFile file)
    {
        Span<byte> head = stackalloc byte[HeadBytes];
        long atBytes = _startBytes;
        for (int count = 0; count < Qcow2Limits.MaxHeaderExtensions && atBytes + HeadBytes <= _limitBytes; count++)
        {
            file.Read(atBytes, head);
            uint type = BinaryPrimitives.ReadUInt32BigEndian(head);
            uint lengthBytes = BinaryPrimitives.ReadUInt32BigEndian(head[sizeof(uint)..]);
            if (type == End)
            {
                break;
            }

            if (lengthBytes > _limitBytes - atBytes - HeadBytes)
            {
                throw Qcow2Fault.Corrupt(
                    _path, $"the header extension 0x{type:x8} has {lengthBytes} bytes, which reach behind the first cluster", atBytes);
            }

            byte[] data = new byte[lengthBytes];
            file.Read(atBytes + HeadBytes, data);
            _items.Add((type, data));
            atBytes += HeadBytes + Padded(lengthBytes);
        }

        _endBytes = atBytes;
    }

    private static long Padded(long lengthBytes) => (lengthBytes + 7) & ~7L;
}
