// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Maps;

namespace Fleece.Images.Chain;

/// <summary>An image that has a map, as a block node and as the parent of another.</summary>
/// <remarks>
/// <para>Any byte range may be read and written. A request of a block device is judged here; those of a child come from requests that have
/// been.</para>
/// <para>Threading. Requests from any thread; reads and writes complete on the calling thread. A request may have to write metadata back
/// first when much of it has changed; then it waits for a running write-back without a thread.</para>
/// <para>Errors. After the first failed metadata write every change fails with that error (rule R7); reads go on. A failed write of guest
/// data is the request's own and poisons nothing.</para>
/// <para>Ownership. The node owns the file, the map and the parent. <see cref="DisposeAsync"/> writes metadata back and reports if it
/// can't.</para>
/// </remarks>
internal sealed class ImageNode : IBlockNode, IImageLayer, IBitmapHolder, IJournaledImage, IAbandonable
{
    private readonly IContainerFile _file;
    private readonly ParentImage? _parent;
    private readonly ImageReader _reader;
    private readonly ImageWriter? _writer;
    private readonly IImageChanges? _changes;
    private JournalOpening? _journal;
    private bool _isAbandoned;
    private bool _isClosed;

    /// <param name="file">The image.</param>
    /// <param name="map">Its map.</param>
    /// <param name="parent">The parent; null without one.</param>
    public ImageNode(IContainerFile file, IImageMap map, ParentImage? parent)
    {
        _file = file;
        _parent = parent;
        Map = map;
        Geometry = new BlockGeometry(map.SizeBytes, IsReadOnly: file.IsReadOnly);
        _reader = new ImageReader(map, parent);
        if (map.Changes is { } changes)
        {
            _changes = changes;
            _writer = new ImageWriter(file, map, changes, parent);
        }
    }

    public BlockGeometry Geometry { get; }

    public bool CanReadAhead => LocalFile.CanReadAhead;

    /// <summary>The map, for what formats know of their own images: identities.</summary>
    public IImageMap Map { get; }

    public IBitmapImage? Bitmaps => (Map as IBitmapHolder)?.Bitmaps;

    public bool SurvivesKill => WhyNot is null;

    public string? WhyNot => _changes?.WriteBack is null ? null : _journal is { } journal ? journal.WhyNone : "it keeps no journal";

    public bool HasJournalFailed => _changes?.WriteBack is not null && _journal is { HasFailed: true };

    public string? LostJournal => _journal?.LostJournal;

    public string? MissingJournal => _changes?.WriteBack is null ? null : _journal?.MissingJournal;

    /// <inheritdoc/>
    public bool IsLostWithSystem => _journal is { IsLostWithSystem: true };

    string IImageLayer.Path => _file.Path;

    ImageFormat IImageLayer.Format => Map.Format;

    long IImageLayer.LengthBytes => Map.SizeBytes;

    IImageLayer? IImageLayer.Parent => _parent?.Layer;

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Check(offsetBytes, buffer.Length, "read", cancellationToken);
        _reader.Read(offsetBytes, buffer.Span);
        return default;
    }

    public void Read(long offsetBytes, Span<byte> buffer) => _reader.Read(offsetBytes, buffer);

    public void ReadAhead(long offsetBytes, long lengthBytes) => _reader.ReadAhead(offsetBytes, lengthBytes);

    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, data.Length, "write", cancellationToken);
        return _writer!.WriteAsync(offsetBytes, data, flags, cancellationToken);
    }

    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "write zeros to", cancellationToken);
        return _writer!.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);
    }

    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "discard", cancellationToken);
        return _writer!.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Check(0, 0, "flush", cancellationToken);
        return _writer?.FlushAsync(cancellationToken) ?? default;
    }

    public ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, "query", cancellationToken);
        return new ValueTask<BlockStatusRun>(_reader.GetStatus(offsetBytes, lengthBytes));
    }

    public BlockStatusRun GetStatus(long offsetBytes, long lengthBytes) => _reader.GetStatus(offsetBytes, lengthBytes);

    public DepthRun GetDepth(long offsetBytes, long lengthBytes) => _reader.GetDepth(offsetBytes, lengthBytes);

    /// <summary>Takes the journal of the image, which it has opened with.</summary>
    public void Attach(JournalOpening journal)
    {
        _journal = journal;
        if (_changes?.WriteBack is null)
        {
            journal.Refuse("its changes are in the file when they are acknowledged");
        }
    }

    public void Touch(long notBeforeTicks) => _journal?.Touch(notBeforeTicks);

    public void SettleLoss() => _journal?.SettleLoss();

    public void Abandon()
    {
        _isAbandoned = true;
        _changes?.Poison?.Set(new BlockException(BlockErrors.Closed, $"'{_file.Path}' has been given up.", _file.Path));
    }

    public ValueTask DisposeAsync()
    {
        Dispose();
        return default;
    }

    public void Dispose()
    {
        if (_isClosed)
        {
            return;
        }

        _isClosed = true;
        try
        {
            _changes?.WriteBack?.Finish();
            if (_changes?.Poison is not { IsSet: true } || _isAbandoned)
            {
                _journal?.Close();
            }
        }
        finally
        {
            _journal?.Kept?.Dispose();
            _changes?.WriteBack?.Dispose();
            Map.Dispose();
            _file.Dispose();
            _parent?.Dispose();
        }
    }

    private void CheckChange(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, operation, cancellationToken);
        if (_changes is null)
        {
            throw new BlockException(
                BlockErrors.ReadOnly,
                $"Cannot {operation} '{_file.Path}': it is open read-only. Open it for writing first.",
                _file.Path,
                offsetBytes,
                operation);
        }

        _changes.Poison?.ThrowIfSet();
    }

    private void Check(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (_isClosed)
        {
            throw new BlockException(
                BlockErrors.Closed, $"'{_file.Path}' has been closed and takes no more requests.", _file.Path);
        }

        new BlockRange(offsetBytes, lengthBytes).CheckWithin(Map.SizeBytes, _file.Path, operation);
    }
}
