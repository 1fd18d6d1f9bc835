// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.Disks.Resuming;

/// <summary>The file of a log, and while a compaction runs the next one, which gets all that is stored as well.</summary>
/// <remarks>Threading. All members from any thread; records one at a time. Ownership. It owns the files.</remarks>
/// <param name="path">The log's path.</param>
/// <param name="file">The file that has it.</param>
internal sealed class SessionLogFiles(string path, SessionLogFile file) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly Lock _replacing = new();
    private SessionLogFile _file = file;
    private SessionLogFile? _next;
    private SessionRecord _last;
    private string? _unflushedMapsPath;
    private bool _isReplacing;

    /// <summary>The head, before the records.</summary>
    public SessionLogHead Head => _file.Head;

    /// <summary>Bytes of the records.</summary>
    public long CountBytes => _file.CountBytes;

    /// <summary>How far the log has come: no more than what counts in its file.</summary>
    public LogPosition Position
    {
        get
        {
            SessionLogFile present = _file;
            return new LogPosition(present.Head.Id, present.Head.Maps.Number, present.CountBytes);
        }
    }

    /// <summary>Why the next file left before it took its place; null when it did not.</summary>
    public BlockException? Failure { get; private set; }

    /// <summary>Stores something before the records.</summary>
    public void Store(Action<SessionLogFile> store)
    {
        lock (_lock)
        {
            store(_file);
            if (_next is { } next)
            {
                store(next);
            }
        }
    }

    /// <summary>Adds a record, which counts when the call returns.</summary>
    /// <param name="record">The record.</param>
    /// <param name="mayUseSpare">True for one that may take the last room there is.</param>
    /// <returns>Null, or why it could not be added.</returns>
    public BlockException? Append(SessionRecord record, bool mayUseSpare)
    {
        lock (_lock)
        {
            try
            {
                if (_file.MakeRoom(mayUseSpare) is { } full || (_isReplacing && (full = _next!.MakeRoom(mayUseSpare)) is not null))
                {
                    return full;
                }

                _file.Append(record);
                AppendToNext(record);
            }
            catch (BlockException e)
            {
                return e;
            }

            _last = record;
            return null;
        }
    }

    /// <summary>From here on the next file gets what is stored too, and what the present one has before its records.</summary>
    /// <remarks>The last record may not be in the maps yet, because its caller adds it behind the note and still holds its lock; so the
    /// next file has it as its first one. All records before it are in the maps: each was added under that lock before the next was noted.
    /// </remarks>
    public void Join(SessionLogFile next)
    {
        lock (_lock)
        {
            next.StoreAll(_file.Head);
            if (_last.Kind != SessionRecord.RecordKind.None)
            {
                next.Append(_last);
            }

            Failure = null;
            _next = next;
        }
    }

    /// <summary>Has the next file take the place of the present one.</summary>
    /// <param name="next">The file that has joined.</param>
    /// <param name="maps">What it goes on from.</param>
    /// <param name="isDurable">True to flush it first: a log that a crash of the system leaves under this name can be read then.</param>
    /// <param name="rename">Gives it its name. When it throws, the present one stays.</param>
    /// <exception cref="BlockException">The next file has left meanwhile, for lack of room; or why it can't take the place.</exception>
    public void Replace(SessionLogFile next, SessionMapsReference maps, bool isDurable, Action rename)
    {
        lock (_lock)
        {
            next.WriteHead(maps);
        }

        if (isDurable)
        {
            next.Flush();
        }

        lock (_replacing)
        {
            lock (_lock)
            {
                if (_next != next)
                {
                    throw Failure!;
                }

                // A record that finds no room in the next file fails from now on.
                _isReplacing = true;
            }

            SessionLogFile old = _file;
            bool isReplaced = false;
            try
            {
                rename();
                isReplaced = true;
            }
            finally
            {
                lock (_lock)
                {
                    _isReplacing = false;
                    _file = isReplaced ? next : _file;
                    if (isReplaced)
                    {
                        Supersede(old);
                    }

                    _next = null;
                }
            }

            _unflushedMapsPath = isDurable ? null : SessionMapsReference.PathFor(path, maps.Number);
            old.Dispose();
        }
    }

    /// <summary>The next file gets nothing any more; the present one is as it was.</summary>
    public void Leave(BlockException? failure)
    {
        lock (_lock)
        {
            Failure = failure ?? Failure;
            _next = null;
        }
    }

    /// <summary>Why the system could not store something of the present file; null while it could.</summary>
    public BlockException? FindLoss() => _file.FindLoss(path);

    /// <summary>Makes all that was stored durable, with the maps and the names.</summary>
    public void Flush()
    {
        lock (_replacing)
        {
            if (_unflushedMapsPath is { } mapsPath)
            {
                FileNames.FlushClosed(mapsPath);
                _unflushedMapsPath = null;
            }

            _file.Flush();
            FileNames.FlushName(path);
        }
    }

    /// <summary>Closes the file as it is.</summary>
    public void Dispose()
    {
        lock (_replacing)
        {
            _file.Dispose();
        }
    }

    // It may have another name, by which it could come back. Before a record goes to its successor alone: until then it has all of them.
    private static void Supersede(SessionLogFile old)
    {
        try
        {
            old.StoreState(StoredState.Superseded);
        }
        catch (BlockException)
        {
            // The marker tells of more than it has, soon.
        }
    }

    // Without room, the present file goes on alone; but while the next one takes its place there is no way back.
    private void AppendToNext(SessionRecord record)
    {
        if (_next is not { } next)
        {
            return;
        }

        try
        {
            Failure = next.MakeRoom(mayUseSpare: true);
            if (Failure is null)
            {
                next.Append(record);
            }
        }
        catch (BlockException e) when (!_isReplacing)
        {
            Failure = e;
        }

        _next = Failure is null ? next : null;
    }
}
