// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Tests.Crashes;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Kills;

/// <summary>An image under random requests whose process dies around changes of its file, and the judge of what the next opener finds.
/// </summary>
/// <remarks>
/// A kill keeps all that was written, to the image and to the journal, and nothing of memory. The next opener replays the journal; then
/// every acknowledged change must be there, and of the request that ran any part. The replay is killed too, and done again; and the system
/// stops in it, after which the journal does not count: then all that was flushed must be there, as after any crash.
/// </remarks>
internal sealed class KillRun
{
    private const int ShortBytes = 20_000;

    private readonly CrashRow _row;
    private readonly CrashImage _image;
    private readonly Seeds _seeds;
    private readonly KillFault? _fault;
    private readonly CrashJudge _judge;
    private readonly INoteReplay _replay;
    private readonly IBlockNode _node;
    private readonly DiskHistory _acknowledged;
    private readonly DiskHistory _flushed;
    private bool _isFlushing;
    private bool _hasWrittenInFlush;
    private bool _isJudging;
    private string _moment = "at the start";

    /// <summary>Begins with a new image of the row.</summary>
    /// <param name="row">The format.</param>
    /// <param name="folder">Has the journal.</param>
    /// <param name="seeds">Decides everything.</param>
    /// <param name="journalBytes">Size of the journal.</param>
    /// <param name="fault">A planted fault; null for none.</param>
    public KillRun(CrashRow row, TempFolder folder, Seeds seeds, int journalBytes, KillFault? fault = null)
    {
        _row = row;
        _seeds = seeds;
        _fault = fault;
        _image = row.Make(folder, seeds);
        _judge = new CrashJudge(row, _image, folder, seeds, fault: null);
        _replay = CrashRows.FindDriver(row.Format).Replay!;
        _acknowledged = new DiskHistory((byte[])_image.Content.Clone());
        _flushed = new DiskHistory((byte[])_image.Content.Clone());
        Journal = ImageJournal.Create(folder.NewFile(JournalLayout.Extension), row.Format, fileId: 1, fileBytes: journalBytes);
        Image = new MemoryContainer((byte[])_image.Bytes.Clone(), path: _image.Path);
        _node = _image.Open(row.Format, Image, new JournalOpening(Journal));
        Image.AroundChange = () =>
        {
            if (_isFlushing && _seeds.Chance(20))
            {
                WriteInFlush();
            }

            if (_seeds.Chance(KillPercent))
            {
                Kill();
            }
        };
    }

    /// <summary>The image's journal.</summary>
    public ImageJournal Journal { get; }

    /// <summary>The image's file.</summary>
    private MemoryContainer Image { get; }

    /// <summary>Of a hundred moments around changes of the file, those at which the process is taken to die.</summary>
    public int KillPercent { get; init; } = 30;

    /// <summary>Kills that were judged.</summary>
    public int KillCount { get; private set; }

    /// <summary>Kills that left notes.</summary>
    public int NotedCount { get; private set; }

    /// <summary>Writes while a flush ran.</summary>
    public int TwoRegionCount { get; private set; }

    /// <summary>Length of the disk.</summary>
    public long DiskBytes => _node.Geometry.LengthBytes;

    /// <summary>Random requests and some flushes, with kills in between too.</summary>
    public async ValueTask RequestsAsync(int count, int flushPercent)
    {
        for (int request = 0; request < count; request++)
        {
            _moment = $"request {request}";
            await RequestAsync();
            if (_seeds.Chance(flushPercent))
            {
                _moment = $"the flush after request {request}";
                await FlushAsync();
            }
        }
    }

    /// <summary>Has a flush fail at one of its changes, closes the image, and judges what is left.</summary>
    public async ValueTask FailFlushAsync(int failedChange)
    {
        _moment = $"a flush whose change {failedChange} failed";
        Image.FailFrom = Image.ChangeCount + failedChange;
        try
        {
            await _node.FlushAsync(CancellationToken.None);
        }
        catch (BlockException failure) when (failure.Kind == BlockErrors.IoFailed)
        {
            Image.FailFrom = int.MaxValue;
            Kill();
            await _node.DisposeAsync();
            Assert.True(File.Exists(Journal.Path));
            Kill();
            return;
        }

        // It had fewer changes.
        Image.FailFrom = int.MaxValue;
        await CloseAsync();
    }

    /// <summary>Flushes, while other requests write.</summary>
    private async ValueTask FlushAsync()
    {
        _hasWrittenInFlush = false;
        _isFlushing = true;
        await _node.FlushAsync(CancellationToken.None);
        _isFlushing = false;

        // Which of the writes in it the flush has covered is not known, so that all may be lost.
        if (!_hasWrittenInFlush)
        {
            _flushed.Flush();
        }
    }

    // Behind the moment that the write-back has captured: the notes go to the other region. Not where the request would wait for it.
    private void WriteInFlush()
    {
        if (_isJudging || Journal.IsDue || ((ImageNode)_node).Map.Changes!.IsWriteBackDue)
        {
            return;
        }

        _isFlushing = false;
        _hasWrittenInFlush = true;
        BlockRange range = _seeds.Range(_image.Content.Length);
        byte[] data = _seeds.Bytes(Math.Min(range.LengthBytes, 3000));
        _acknowledged.Write(range.OffsetBytes, data);
        _flushed.Write(range.OffsetBytes, data);
        Assert.True(_node.WriteAsync(range.OffsetBytes, data, WriteFlags.None, CancellationToken.None).AsTask().IsCompletedSuccessfully);
        _acknowledged.Flush();
        TwoRegionCount++;
        _isFlushing = true;
    }

    /// <summary>Writes a range.</summary>
    public async ValueTask WriteAsync(long offsetBytes, byte[] data, WriteFlags flags = WriteFlags.None)
    {
        _acknowledged.Write(offsetBytes, data);
        DiskHistory.Change change = _flushed.Write(offsetBytes, data);
        await _node.WriteAsync(offsetBytes, data, flags, CancellationToken.None);
        change.IsDurable = flags == WriteFlags.ForceUnitAccess;
        _acknowledged.Flush();
    }

    /// <summary>Closes the image; its journal is gone then.</summary>
    public async ValueTask CloseAsync()
    {
        _moment = "the close";
        await _node.DisposeAsync();
        Assert.False(File.Exists(Journal.Path));
        _judge.CheckClosed(Image.Content, Context);
        _judge.CheckFile(Image.Content, _acknowledged, Context);
    }

    /// <summary>Judges what the next opener would find if the process died now.</summary>
    public void Kill()
    {
        if (_isJudging || !File.Exists(Journal.Path))
        {
            return;
        }

        _isJudging = true;
        try
        {
            Judge();
        }
        catch (BlockException failure)
        {
            Assert.Fail($"{failure.Message} {Context}");
        }
        finally
        {
            _isJudging = false;
        }
    }

    private string Context => $"a kill in {_moment} of {_row.Name}, seed {_seeds.Seed}";

    private void Judge()
    {
        KillCount++;
        StoredJournal stored = StoredJournal.Read(LockedFile.Read(Journal.Path))!;
        Assert.True(stored is { Fault: null, State: JournalState.Kept or JournalState.Closed }, $"{stored.Fault}; {Context}");
        JournalNotes notes = _fault?.Spoil(stored.Notes, Image.Content) ?? stored.Notes;
        NotedCount += notes.Generations.Count == 0 ? 0 : 1;
        MemoryContainer killed = Image.Copy();
        if (notes.Generations.Count != 0 && _fault is null)
        {
            CheckChange(killed, stored);
        }

        if (_seeds.Chance(30))
        {
            MemoryContainer readOnly = new(killed.Content, isReadOnly: true, _image.Path);
            IBlockNode shown = _image.Open(
                _row.Format, notes.Generations.Count == 0 ? readOnly : _replay.Show(readOnly, notes));
            _acknowledged.Check(CrashImage.Read(shown), $"read only after {Context}");
        }

        MemoryContainer replayed = killed.Copy();
        List<byte[]> inside = [];
        replayed.AroundChange = () =>
        {
            if (_seeds.Chance(20))
            {
                inside.Add((byte[])replayed.Content.Clone());
            }
        };
        Replay(replayed, notes);
        replayed.AroundChange = null;
        _judge.CheckFile(replayed.Content, _acknowledged, $"after the replay after {Context}");
        if (_seeds.Chance(2))
        {
            _judge.CheckByPeer(replayed.Content, $"after the replay after {Context}");
        }

        if (inside.Count != 0 && notes.Generations.Count != 0)
        {
            KillAgain(inside[_seeds.Next(inside.Count)], stored, notes);
        }

        if (notes.Generations.Count != 0 && _seeds.Chance(30))
        {
            StopSystem(killed, notes);
        }
    }

    // The replay is killed as well, and done again by the next opener.
    private void KillAgain(byte[] bytes, StoredJournal stored, JournalNotes notes)
    {
        MemoryContainer again = new(bytes, path: _image.Path);
        if (_fault is null)
        {
            CheckChange(again, stored with { State = JournalState.Replaying });
        }

        Replay(again, notes);
        _judge.CheckFile(again.Content, _acknowledged, $"after a second replay after {Context}");
    }

    // The system stops while the journal is replayed, before each flush of that.
    private void StopSystem(MemoryContainer killed, JournalNotes notes)
    {
        MemoryContainer replayed = killed.Copy();
        replayed.BeforeFlush = () =>
            _judge.CheckFile(_judge.Crash(replayed), _flushed, $"after a crash of the system in the replay after {Context}");
        Replay(replayed, notes);
        _judge.CheckFile(_judge.Crash(replayed), _acknowledged, $"after a crash of the system behind the replay after {Context}");
    }

    private void Replay(MemoryContainer file, JournalNotes notes)
    {
        if (notes.Generations.Count != 0)
        {
            _replay.Replay(_fault is { SwallowsFlushes: true } ? new UnflushedFile(file) : file, notes, () => { });
            if (_fault is { SwallowsFlushes: true })
            {
                file.BeforeFlush?.Invoke();
                file.BeforeFlush = null;
                file.Flush();
            }
        }
    }

    private void CheckChange(IContainerFile file, StoredJournal stored)
    {
        string? change = _replay.FindChange(file, stored);
        Assert.True(change is null, $"{change}; {Context}");
    }

    private async ValueTask RequestAsync()
    {
        BlockRange range = _seeds.Range(_image.Content.Length);
        bool isLong = _seeds.Chance(_row.LongPercent);
        range = new BlockRange(range.OffsetBytes, isLong ? range.LengthBytes : Math.Min(range.LengthBytes, ShortBytes));
        WriteFlags flags = _seeds.Chance(5) ? WriteFlags.ForceUnitAccess : WriteFlags.None;
        switch (_seeds.Next(9))
        {
            case < 2:
                _acknowledged.Discard(range);
                _flushed.Discard(range);
                await _node.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
                _acknowledged.Flush();
                break;
            case < 4:
                _acknowledged.Write(range.OffsetBytes, new byte[range.LengthBytes]);
                DiskHistory.Change zeros = _flushed.Write(range.OffsetBytes, new byte[range.LengthBytes]);
                await _node.WriteZeroesAsync(range.OffsetBytes, range.LengthBytes, flags, CancellationToken.None);
                zeros.IsDurable = flags == WriteFlags.ForceUnitAccess;
                _acknowledged.Flush();
                break;
            default:
                await WriteAsync(range.OffsetBytes, _seeds.Bytes(range.LengthBytes), flags);
                break;
        }
    }
}
