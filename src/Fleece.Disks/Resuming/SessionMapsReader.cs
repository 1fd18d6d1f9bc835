// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using static Fleece.Disks.Resuming.SessionMapsFormat;

namespace Fleece.Disks.Resuming;

/// <summary>Reads maps that <see cref="SessionMapsWriter"/> has written.</summary>
internal sealed class SessionMapsReader : IDisposable
{
    private const int BufferBytes = 256 * 1024;

    private readonly LocalFile _file;
    private readonly byte[] _buffer = new byte[BufferBytes];
    private readonly IncrementalHash _digest = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private long _bufferAtBytes;
    private int _bufferedBytes;
    private long _atBytes;

    private SessionMapsReader(LocalFile file) => _file = file;

    /// <summary>Reads a file of maps.</summary>
    /// <param name="path">The file.</param>
    /// <param name="description">The session.</param>
    /// <param name="reference">What its log says of them.</param>
    /// <param name="fault">What is wrong, as a part of a sentence; null when nothing is.</param>
    /// <returns>Null when something is wrong.</returns>
    public static PointInTimeMaps? Read(
        string path, SessionDescription description, SessionMapsReference reference, out string? fault)
    {
        try
        {
            using LocalFile file = LocalFile.Open(path, isReadOnly: true);
            if (file.LengthBytes != reference.LengthBytes)
            {
                fault = $"its maps '{path}' have {file.LengthBytes} bytes and were written with {reference.LengthBytes}";
                return null;
            }

            using SessionMapsReader reader = new(file);
            PointInTimeMaps? maps = reader.ReadAll(description, reference);
            fault = maps is null ? $"its maps '{path}' are damaged" : null;
            return maps;
        }
        catch (BlockException e)
        {
            fault = $"its maps can't be read ({e.Message.TrimEnd('.')})";
            return null;
        }
    }

    /// <summary>Lets go of the digest. The file is its opener's.</summary>
    public void Dispose() => _digest.Dispose();

    private PointInTimeMaps? ReadAll(SessionDescription description, SessionMapsReference reference)
    {
        byte[] head = new byte[HeadBytes];
        if (!TryTake(head))
        {
            return null;
        }

        PointInTimeMaps maps = new(description.GranuleCount, description.Consumers.Count, HasDenied(head));
        return head.AsSpan().SequenceEqual(EncodeHead(description.Id, reference.Number, maps)) && TryFill(maps, head, reference)
            ? maps
            : null;
    }

    private bool TryFill(PointInTimeMaps maps, byte[] head, SessionMapsReference reference)
    {
        GranuleMap?[] all = InOrder(maps);
        byte[] entry = new byte[EntryBytes];
        byte[] page = new byte[PageBytes];
        while (true)
        {
            long offsetBytes = _atBytes;
            if (!TryTake(entry))
            {
                return false;
            }

            EntryKind kind = KindOf(entry);
            byte[] bits = kind == EntryKind.Bits ? page : [];
            if (!TryTake(bits) || !TryDecodeEntry(entry, head, offsetBytes, bits, out int map, out long firstPage, out long count))
            {
                return false;
            }

            if (kind == EntryKind.End)
            {
                return _atBytes == reference.LengthBytes && _digest.GetHashAndReset().AsSpan().SequenceEqual(reference.Digest.Span);
            }

            if (kind is not (EntryKind.Full or EntryKind.Bits) || map < 0 || map >= all.Length || all[map] is not { } target ||
                firstPage < 0 || count <= 0 || firstPage > target.PageCount - count)
            {
                return false;
            }

            for (long index = firstPage; index < firstPage + count; index++)
            {
                target.AddPage(
                    (int)index, kind == EntryKind.Full ? GranulePageKind.Full : GranulePageKind.Partial, Words(bits));
            }
        }
    }

    private static ReadOnlySpan<ulong> Words(byte[] bits)
    {
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(bits);
        if (BitConverter.IsLittleEndian)
        {
            return words;
        }

        ulong[] swapped = new ulong[words.Length];
        System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(words, swapped);
        return swapped;
    }

    // False at the end of the file.
    private bool TryTake(Span<byte> bytes)
    {
        for (Span<byte> left = bytes; !left.IsEmpty;)
        {
            int at = (int)(_atBytes - _bufferAtBytes);
            if (at == _bufferedBytes)
            {
                _bufferAtBytes = _atBytes;
                _bufferedBytes = _file.ReadUpTo(_atBytes, _buffer);
                at = 0;
                if (_bufferedBytes == 0)
                {
                    return false;
                }
            }

            int count = Math.Min(left.Length, _bufferedBytes - at);
            _buffer.AsSpan(at, count).CopyTo(left);
            _atBytes += count;
            left = left[count..];
        }

        _digest.AppendData(bytes);
        return true;
    }
}
