// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;
using Fleece.Images.Qcow2.Refcounts;

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
/// <param name="file">The image.</param>
/// <param name="dataFile">The external data file; null when the data lies in the image.</param>
/// <param name="tables">Has the L1 and L2 tables that have changed.</param>
/// <param name="header">Tells whether anything has changed.</param>
/// <param name="refcounts">Has the refcounts that have changed.</param>
/// <param name="allocator">Trims the file at the end.</param>
/// <param name="reclaim">Told what the disk has forgotten.</param>
internal sealed class MetadataWriteBack(
    MetadataFile file,
    MetadataFile? dataFile,
    MappingTables tables,
    LiveHeader header,
    RefcountStore refcounts,
    ClusterAllocator allocator,
    ClusterReclaim reclaim) : IDisposable
{
    private const int FirstBufferBytes = 64 * 1024;

    private readonly L2Cache _cache = tables.Cache;
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

    /// <summary>True when a request should write metadata back before it makes more of it. Any thread.</summary>
    public bool IsDue => _cache.IsFullOfChanges || reclaim.NeedsWriteBack;

    /// <summary>Makes everything that completed before the call durable.</summary>
    /// <exception cref="BlockException">The first failure, which poisons the image; later calls report it
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

        reclaim.Reclaim();
    }

    /// <summary>Leaves the file as a clean image: nothing leaked, nothing grown in advance. No request may
    /// run.</summary>
    public void Finish()
    {
        if (!header.HasChanged || file.Poison.IsSet)
        {
            return;
        }

        Run();
        reclaim.Reclaim();
        lock (tables.Sync)
        {
            foreach ((long cluster, long count) in allocator.Abandoned)
            {
                allocator.Release(cluster, count);
            }

            allocator.Abandoned.Clear();
            allocator.TrimFile();
            refcounts.WriteDirtyBlocks();
            file.Flush();
        }
    }

    public void Dispose() => _turn.Dispose();

    private void Run()
    {
        long number;
        lock (tables.Sync)
        {
            file.Poison.ThrowIfSet();
            number = reclaim.BeginWriteBack();
            Capture();
        }

        dataFile?.Flush();
        Write(_first, isFlushed: _hasAllocated && (_second.Count | _third.Count) != 0);
        Write(_second, isFlushed: _second.Count != 0);
        Write(_third, isFlushed: true);
        lock (tables.Sync)
        {
            Forget();
            reclaim.EndWriteBack(number);
        }
    }

    private void Capture()
    {
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

        foreach (L2Slice slice in _cache.Dirty)
        {
            Capture(slice);
        }

        _cache.MarkAllClean();
        _newTables.AddRange(tables.NewTables);
        foreach (int index in refcounts.DirtyTableEntries)
        {
            CaptureWord(_second, refcounts.TableOffsetBytes, index, refcounts.Table[index]);
        }

        refcounts.DirtyTableEntries.Clear();
        foreach (int index in tables.DirtyL1Entries)
        {
            CaptureWord(_third, tables.L1OffsetBytes, index, tables.L1Entry(index));
        }

        tables.DirtyL1Entries.Clear();
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
        long offsetBytes = tables.HostOffset(slice) + ((long)slice.DirtyStart * slice.EntryBytes);
        int lengthBytes = (slice.DirtyEnd - slice.DirtyStart) * slice.EntryBytes;
        bool isOfNewTable = tables.NewTables.Contains(tables.L1Index(slice));
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
            file.Write(piece.OffsetBytes, _buffer.AsSpan(piece.BufferStart, piece.LengthBytes));
        }

        if (isFlushed)
        {
            file.Flush();
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

        tables.NewTables.ExceptWith(_newTables);
        _blocks.Clear();
        _slices.Clear();
        _newTables.Clear();
        _first.Clear();
        _second.Clear();
        _third.Clear();
    }
}
