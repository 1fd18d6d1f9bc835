// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>Takes changed metadata to the disk through the log, in an order that a crash can interrupt anywhere.</summary>
/// <remarks>
/// <para>All changes of one moment are copied under the metadata lock, then written outside it:</para>
/// <code>
/// 1  flush: the guest's data, zeroed space, the length of the file, and the pages that the commit before put in place
/// 2  one entry of the log, its own tail           then flush
/// 3  the first time: log_guid in both headers     each with a flush
/// 4  the pages in their places in the file        durable with the next commit's first flush
/// </code>
/// <para>So nothing the log or a page in place points to is missing, and what is half in place the log has whole. The
/// header names the log only when its first entry is durable, because a named log without an entry is damage.</para>
/// <para>Threading. One commit at a time; others wait for it asynchronously. Errors. The first failure poisons the
/// image.</para>
/// </remarks>
internal sealed class MetadataCommit : IDisposable
{
    private readonly IContainerFile _file;
    private readonly VhdxHeaders _headers;
    private readonly MetadataPages _tables;
    private readonly Poison _poison;
    private readonly BlockChanges _changes;
    private readonly FileSpace _space;
    private readonly bool _mustKeepIdentity;
    private readonly LogWriter _log;
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly Lock _headerLock = new();
    private readonly List<MetadataPage> _pages = [];
    private readonly List<long> _offsetsBytes = [];
    private readonly byte[] _buffer;
    private volatile bool _hasChanged;

    public MetadataCommit(
        IContainerFile file, VhdxHeaders headers, BlockMap map, BlockChanges changes, FileSpace space, bool mustKeepIdentity)
    {
        _mustKeepIdentity = mustKeepIdentity;
        _file = file;
        _headers = headers;
        _tables = map.Pages;
        _poison = map.Poison;
        _changes = changes;
        _space = space;
        _log = new LogWriter(file, headers.Current);
        _buffer = new byte[_log.MaxPages * VhdxFormat.PageBytes];
        changes.MostDirtyPages = _log.MaxPages;
    }

    /// <summary>Before the first change of the file: both headers say that the file (file_write_guid) and the disk's content
    /// (data_write_guid) are no longer what they were; the latter unless nobody is to see a difference.</summary>
    public void PrepareForChange()
    {
        if (_hasChanged)
        {
            return;
        }

        lock (_headerLock)
        {
            _poison.ThrowIfSet();
            if (!_hasChanged)
            {
                UpdateHeaders(header => header with
                {
                    FileWriteGuid = Guid.NewGuid(),
                    DataWriteGuid = _mustKeepIdentity ? header.DataWriteGuid : Guid.NewGuid(),
                });
                _hasChanged = true;
            }
        }
    }

    /// <summary>Makes everything that completed before the call durable.</summary>
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

        _changes.Reclaim();
    }

    /// <summary>Leaves the file with an empty log and without what it has grown in advance. No request may run.</summary>
    public void Finish()
    {
        if (!_hasChanged || _poison.IsSet)
        {
            return;
        }

        Run();
        _poison.Guard(_file.Flush);
        if (_headers.Current.LogGuid != Guid.Empty)
        {
            UpdateHeaders(header => header with { LogGuid = Guid.Empty });
        }

        _changes.Reclaim();
        lock (_tables.Sync)
        {
            _space.TrimFile();
        }

        _file.Flush();
    }

    public void Dispose() => _turn.Dispose();

    private void Run()
    {
        long number;
        lock (_tables.Sync)
        {
            _poison.ThrowIfSet();
            number = _changes.BeginCommit();
            Capture();
        }

        _poison.Guard(WriteCaptured);
        lock (_tables.Sync)
        {
            foreach (MetadataPage page in _pages)
            {
                page.IsBeingWritten = false;
            }

            _pages.Clear();
            _changes.EndCommit(number);
        }
    }

    private void Capture()
    {
        _pages.AddRange(_tables.Dirty);
        _tables.Dirty.Clear();
        _offsetsBytes.Clear();
        for (int i = 0; i < _pages.Count; i++)
        {
            MetadataPage page = _pages[i];
            page.Bytes.CopyTo(_buffer.AsSpan(i * VhdxFormat.PageBytes));
            page.IsDirty = false;
            page.IsBeingWritten = true;
            _offsetsBytes.Add(page.OffsetBytes);
        }
    }

    private void WriteCaptured()
    {
        long fileBytes = _file.GetLength();
        _file.Flush();
        if (_pages.Count == 0)
        {
            return;
        }

        ReadOnlySpan<byte> bytes = _buffer.AsSpan(0, _pages.Count * VhdxFormat.PageBytes);
        _log.Append(_offsetsBytes, bytes, fileBytes);
        _file.Flush();
        if (_headers.Current.LogGuid != _log.LogGuid)
        {
            _headers.Update(header => header with { LogGuid = _log.LogGuid });
        }

        for (int i = 0; i < _pages.Count; i++)
        {
            _file.Write(_offsetsBytes[i], bytes.Slice(i * VhdxFormat.PageBytes, VhdxFormat.PageBytes));
        }
    }

    private void UpdateHeaders(Func<VhdxHeader, VhdxHeader> change) => _poison.Guard(() => _headers.Update(change));
}
