// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Security.Cryptography;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using static Fleece.Disks.Resuming.SessionMapsFormat;

namespace Fleece.Disks.Resuming;

/// <summary>Writes maps to a file while they grow.</summary>
/// <remarks>Memory. A quarter of a MiB, whatever the disk's size.</remarks>
internal sealed class SessionMapsWriter : IDisposable
{
    private const int BufferedPages = 64;

    private readonly LocalFile _file;
    private readonly byte[] _head;
    private readonly byte[] _buffer = new byte[BufferedPages * (EntryBytes + PageBytes)];
    private readonly ulong[] _words = new ulong[GranuleMap.WordsPerPage];
    private readonly byte[] _bits = new byte[PageBytes];
    private readonly IncrementalHash _digest = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private long _atBytes;
    private int _filledBytes;

    private SessionMapsWriter(LocalFile file, byte[] head)
    {
        _file = file;
        _head = head;
    }

    /// <summary>Writes a file of maps, in place of one that is there.</summary>
    /// <param name="path">The file.</param>
    /// <param name="id">The session's id.</param>
    /// <param name="number">The number of the maps.</param>
    /// <param name="maps">The maps.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException">Why it can't be written. No file is left then.</exception>
    public static SessionMapsReference Write(
        string path, Guid id, long number, PointInTimeMaps maps, CancellationToken cancellationToken)
    {
        FileNames.Delete(path);
        try
        {
            using LocalFile file = LocalFile.Create(path, 0);
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(file.Handle, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }

            using SessionMapsWriter writer = new(file, EncodeHead(id, number, maps));
            return writer.WriteAll(number, InOrder(maps), cancellationToken);
        }
        catch
        {
            FileNames.Delete(path);
            throw;
        }
    }

    /// <summary>Lets go of the digest. The file is its opener's.</summary>
    public void Dispose() => _digest.Dispose();

    private SessionMapsReference WriteAll(long number, GranuleMap?[] maps, CancellationToken cancellationToken)
    {
        Put(_head, []);
        for (int map = 0; map < maps.Length; map++)
        {
            if (maps[map] is { } present)
            {
                WriteMap(map, present, cancellationToken);
            }
        }

        PutEntry(maps.Length, EntryKind.End, 0, 0, []);
        WriteOut();
        return new SessionMapsReference(number, _atBytes, _digest.GetHashAndReset());
    }

    private void WriteMap(int number, GranuleMap map, CancellationToken cancellationToken)
    {
        int fullStart = 0;
        for (int page = 0; page < map.PageCount; page++)
        {
            GranulePageKind kind = map.GetPage(page, _words);
            if (kind == GranulePageKind.Full)
            {
                continue;
            }

            PutFull(number, fullStart, page);
            fullStart = page + 1;
            if (kind == GranulePageKind.Partial)
            {
                cancellationToken.ThrowIfCancellationRequested();
                for (int i = 0; i < _words.Length; i++)
                {
                    BinaryPrimitives.WriteUInt64LittleEndian(_bits.AsSpan(i * sizeof(ulong)), _words[i]);
                }

                PutEntry(number, EntryKind.Bits, page, 1, _bits);
            }
        }

        PutFull(number, fullStart, map.PageCount);
    }

    private void PutFull(int map, int startPage, int endPage)
    {
        if (endPage > startPage)
        {
            PutEntry(map, EntryKind.Full, startPage, endPage - startPage, []);
        }
    }

    private void PutEntry(int map, EntryKind kind, long page, long count, ReadOnlySpan<byte> bits)
    {
        Span<byte> entry = stackalloc byte[EntryBytes];
        EncodeEntry(entry, _head, _atBytes + _filledBytes, map, kind, page, count, bits);
        Put(entry, bits);
    }

    private void Put(ReadOnlySpan<byte> entry, ReadOnlySpan<byte> bits)
    {
        if (_filledBytes + entry.Length + bits.Length > _buffer.Length)
        {
            WriteOut();
        }

        entry.CopyTo(_buffer.AsSpan(_filledBytes));
        bits.CopyTo(_buffer.AsSpan(_filledBytes + entry.Length));
        _filledBytes += entry.Length + bits.Length;
    }

    private void WriteOut()
    {
        FailPoint.Reach("maps-write");
        ReadOnlySpan<byte> filled = _buffer.AsSpan(0, _filledBytes);
        _digest.AppendData(filled);
        _file.Write(_atBytes, filled);
        _atBytes += _filledBytes;
        _filledBytes = 0;
    }
}
