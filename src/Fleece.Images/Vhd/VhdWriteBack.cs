// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>Writes changed metadata in an order that a crash can interrupt anywhere.</summary>
/// <remarks>
/// <para>All changes of one moment are copied under the metadata lock, then written outside it:</para>
/// <code>
/// 1  sector bitmaps of blocks that the disk's table does not know yet    then flush (the guest's data with it)
/// 2  sector bitmaps of the others, table entries of new blocks           then flush
/// </code>
/// <para>A bit is set in memory only when the sector's bytes are in the file. So nothing on disk says that a sector or a block is
/// there before it is: a crash leaves space that nothing uses, never a sector of unknown content. Without changed metadata
/// there is one flush.</para>
/// <para>Threading. One write-back at a time; others wait for it asynchronously.</para>
/// </remarks>
internal sealed class VhdWriteBack(IContainerFile file, VhdMetadata metadata) : IDisposable
{
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly List<Piece> _first = [];
    private readonly List<Piece> _second = [];
    private readonly List<SectorBitmap> _bitmaps = [];
    private byte[] _buffer = new byte[VhdLimits.TableChunkBytes];
    private int _bufferEnd;

    private readonly record struct Piece(long OffsetBytes, int BufferStart, int LengthBytes);

    /// <summary>Makes everything that completed before the call durable.</summary>
    /// <exception cref="Fleece.Block.BlockException">The first failure, which poisons the image; later calls report it
    /// again.</exception>
    public async ValueTask RunAsync(CancellationToken cancellationToken)
    {
        await RequestThreads.TakeTurnAsync(_turn, cancellationToken).ConfigureAwait(false);
        try
        {
            Run();
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Leaves the file as a clean image, with nothing grown in advance. No request may run.</summary>
    public void Finish()
    {
        if (!metadata.Poison.IsSet)
        {
            Run();
            metadata.Finish();
        }
    }

    public void Dispose() => _turn.Dispose();

    private void Run()
    {
        lock (metadata.Sync)
        {
            metadata.Poison.ThrowIfSet();
            Capture();
        }

        metadata.Poison.Guard(() =>
        {
            Write(_first);
            file.Flush();
            if (_second.Count != 0)
            {
                Write(_second);
                file.Flush();
            }
        });
        lock (metadata.Sync)
        {
            Forget();
        }
    }

    private void Capture()
    {
        _bufferEnd = 0;
        foreach (SectorBitmap bitmap in metadata.Bitmaps.Dirty)
        {
            long offsetBytes = (long)metadata.Table[bitmap.Block] * VhdLimits.SectorBytes;
            bitmap.Bytes.CopyTo(Reserve(bitmap.IsNew ? _first : _second, offsetBytes, bitmap.Bytes.Length));
            bitmap.IsBeingWritten = true;
            _bitmaps.Add(bitmap);
        }

        metadata.Bitmaps.MarkAllClean();
        metadata.NewBlocks.Sort();
        List<int> blocks = metadata.NewBlocks;
        for (int i = 0; i < blocks.Count;)
        {
            int count = 1;
            while (i + count < blocks.Count && blocks[i + count] == blocks[i] + count)
            {
                count++;
            }

            CaptureEntries(blocks[i], count);
            i += count;
        }

        metadata.ForgetNewBlocks();
    }

    private void CaptureEntries(int block, int count)
    {
        Span<byte> bytes = Reserve(_second, metadata.EntryOffsetBytes(block), count * sizeof(uint));
        Span<uint> entries = MemoryMarshal.Cast<byte, uint>(bytes);
        for (int i = 0; i < count; i++)
        {
            uint sector = metadata.Table[block + i];
            entries[i] = BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(sector) : sector;
        }
    }

    private Span<byte> Reserve(List<Piece> pieces, long offsetBytes, int lengthBytes)
    {
        int start = _bufferEnd;
        if (start + lengthBytes > _buffer.Length)
        {
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, start + lengthBytes));
        }

        pieces.Add(new Piece(offsetBytes, start, lengthBytes));
        _bufferEnd = start + lengthBytes;
        return _buffer.AsSpan(start, lengthBytes);
    }

    private void Write(List<Piece> pieces)
    {
        foreach (Piece piece in pieces)
        {
            file.Write(piece.OffsetBytes, _buffer.AsSpan(piece.BufferStart, piece.LengthBytes));
        }
    }

    private void Forget()
    {
        foreach (SectorBitmap bitmap in _bitmaps)
        {
            bitmap.IsBeingWritten = false;
            bitmap.IsNew = false;
        }

        _bitmaps.Clear();
        _first.Clear();
        _second.Clear();
    }
}
