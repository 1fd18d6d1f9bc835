// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2;

/// <summary>Writes changed metadata in an order that a crash can interrupt anywhere.</summary>
/// <remarks>
/// <para>All changes of one moment are copied under the metadata lock, then written outside it:</para>
/// <code>
/// 1  refcount blocks; L2 tables that the disk's L1 does not know yet     then flush (the guest's data with it)
/// 2  refcount table entries of new blocks                                then flush
/// 3  L2 tables, L1 entries                                               then flush
/// </code>
/// <para>An external data file is flushed before all of them.</para>
/// <para>So nothing on disk points to a cluster before the disk counts it and has its content: a crash leaves clusters
/// that are counted and not used (leaks), never the reverse. A flush whose step wrote nothing is left out, but for the
/// last.
/// </para>
/// <para>Threading. One write-back at a time; others wait for it asynchronously.</para>
/// </remarks>
internal sealed class MetadataWriteBack(
    IContainerFile container, IContainerFile dataFile, Qcow2Metadata metadata) : IDisposable
{
    private const int FirstBufferBytes = 64 * 1024;

    private readonly MetadataFile _file = new(container, metadata.Poison);
    private readonly MetadataFile? _dataFile = dataFile == container ? null : new(dataFile, metadata.Poison);
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly List<Piece> _first = [];
    private readonly List<Piece> _second = [];
    private readonly List<Piece> _third = [];
    private readonly List<L2Slice> _slices = [];
    private readonly List<int> _newTables = [];
    private readonly List<RefcountBlock> _blocks = [];
    private byte[] _buffer = new byte[FirstBufferBytes];
    private int _bufferEnd;
    private bool _hasAllocated;

    private readonly record struct Piece(long OffsetBytes, int BufferStart, int LengthBytes);

    /// <summary>Makes everything that completed before the call durable.</summary>
    /// <exception cref="BlockException">The first failure, which poisons the image; later calls report it
    /// again.</exception>
    public async ValueTask RunAsync(CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            Run();
        }
        finally
        {
            _turn.Release();
        }

        metadata.Reclaim();
    }

    /// <summary>Leaves the file as a clean image: nothing leaked, nothing grown in advance. No request may
    /// run.</summary>
    public void Finish()
    {
        if (!metadata.HasChanged || metadata.Poison.IsSet)
        {
            return;
        }

        Run();
        metadata.Reclaim();
        lock (metadata.Sync)
        {
            ClusterAllocator allocator = metadata.Allocator!;
            foreach ((long cluster, long count) in allocator.Abandoned)
            {
                allocator.Release(cluster, count);
            }

            allocator.Abandoned.Clear();
            allocator.TrimFile();
            metadata.Refcounts!.WriteDirtyBlocks();
            _file.Flush();
        }
    }

    public void Dispose() => _turn.Dispose();

    private void Run()
    {
        long number;
        lock (metadata.Sync)
        {
            metadata.Poison.ThrowIfSet();
            number = metadata.BeginWriteBack();
            Capture();
        }

        _dataFile?.Flush();
        Write(_first, isFlushed: _hasAllocated && (_second.Count | _third.Count) != 0);
        Write(_second, isFlushed: _second.Count != 0);
        Write(_third, isFlushed: true);
        lock (metadata.Sync)
        {
            Forget();
            metadata.EndWriteBack(number);
        }
    }

    private void Capture()
    {
        ClusterAllocator allocator = metadata.Allocator!;
        RefcountStore refcounts = metadata.Refcounts!;
        _bufferEnd = 0;
        _hasAllocated = allocator.HasAllocated;
        allocator.HasAllocated = false;
        foreach (RefcountBlock block in refcounts.Resident)
        {
            if (block.IsDirty)
            {
                Capture(block);
            }
        }

        foreach (L2Slice slice in metadata.Cache.Dirty)
        {
            Capture(slice);
        }

        metadata.Cache.MarkAllClean();
        _newTables.AddRange(metadata.NewTables);
        foreach (int index in refcounts.DirtyTableEntries)
        {
            CaptureWord(_second, refcounts.TableOffsetBytes, index, refcounts.Table[index]);
        }

        refcounts.DirtyTableEntries.Clear();
        foreach (int index in metadata.DirtyL1Entries)
        {
            CaptureWord(_third, metadata.L1OffsetBytes, index, metadata.L1Entry(index));
        }

        metadata.DirtyL1Entries.Clear();
    }

    private void Capture(RefcountBlock block)
    {
        int lengthBytes = block.DirtyEndBytes - block.DirtyStartBytes;
        block.Bytes.AsSpan(block.DirtyStartBytes, lengthBytes)
            .CopyTo(Reserve(_first, block.HostOffsetBytes + block.DirtyStartBytes, lengthBytes));
        block.MarkClean();
        block.IsBeingWritten = true;
        _blocks.Add(block);
    }

    private void Capture(L2Slice slice)
    {
        long offsetBytes = metadata.HostOffset(slice) + ((long)slice.DirtyStart * slice.EntryBytes);
        int lengthBytes = (slice.DirtyEnd - slice.DirtyStart) * slice.EntryBytes;
        bool isOfNewTable = metadata.NewTables.Contains(metadata.L1Index(slice));
        slice.CopyDirty(Reserve(isOfNewTable ? _first : _third, offsetBytes, lengthBytes));
        slice.IsBeingWritten = true;
        _slices.Add(slice);
    }

    private void CaptureWord(List<Piece> pieces, long tableOffsetBytes, int index, ulong value)
    {
        long offsetBytes = tableOffsetBytes + ((long)index * sizeof(ulong));
        BinaryPrimitives.WriteUInt64BigEndian(Reserve(pieces, offsetBytes, sizeof(ulong)), value);
    }

    private Span<byte> Reserve(List<Piece> pieces, long offsetBytes, int lengthBytes)
    {
        int start = _bufferEnd;
        if (start + lengthBytes > _buffer.Length)
        {
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, start + lengthBytes));
        }

        pieces.Add(new Piece(offsetBytes, start, lengthBytes));
        _bufferEnd = (start + lengthBytes + sizeof(ulong) - 1) & -sizeof(ulong);
        return _buffer.AsSpan(start, lengthBytes);
    }

    private void Write(List<Piece> pieces, bool isFlushed)
    {
        foreach (Piece piece in pieces)
        {
            _file.Write(piece.OffsetBytes, _buffer.AsSpan(piece.BufferStart, piece.LengthBytes));
        }

        if (isFlushed)
        {
            _file.Flush();
        }
    }

    private void Forget()
    {
        foreach (RefcountBlock block in _blocks)
        {
            block.IsBeingWritten = false;
        }

        foreach (L2Slice slice in _slices)
        {
            slice.IsBeingWritten = false;
        }

        metadata.NewTables.ExceptWith(_newTables);
        _blocks.Clear();
        _slices.Clear();
        _newTables.Clear();
        _first.Clear();
        _second.Clear();
        _third.Clear();
    }
}
