// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.TestKit;

namespace Fleece.Images.Tests.Crashes;

/// <summary>An image under random requests, in a file in memory that crashes, and the judge of all that crashes leave.</summary>
internal sealed class CrashRun
{
    private const int ShortBytes = 20_000;

    private readonly CrashRow _row;
    private readonly CrashImage _image;
    private readonly Seeds _seeds;
    private readonly PlantedFault? _fault;
    private string _moment = "at the start";
    private PlantedContainer? _planted;

    /// <summary>Begins with a new image of the row.</summary>
    public CrashRun(CrashRow row, TempFolder folder, Seeds seeds, PlantedFault? fault = null)
        : this(row, row.Make(folder, seeds), folder, seeds, fault)
    {
    }

    /// <summary>Begins with an image, which stays as it is.</summary>
    public CrashRun(CrashRow row, CrashImage image, TempFolder folder, Seeds seeds, PlantedFault? fault = null)
    {
        _row = row;
        _seeds = seeds;
        _fault = fault;
        _image = image;
        Judge = new CrashJudge(row, image, folder, seeds, fault);
        (File, Node, History) = Begin((byte[])image.Bytes.Clone(), (byte[])image.Content.Clone());
    }

    /// <summary>Judges what a crash leaves.</summary>
    public CrashJudge Judge { get; }

    /// <summary>The image's file.</summary>
    public MemoryContainer File { get; private set; }

    /// <summary>The image, open.</summary>
    public IBlockNode Node { get; private set; }

    /// <summary>The content that the disk may have.</summary>
    public DiskHistory History { get; private set; }

    /// <summary>Crashes before each flush of the file; null for one before each second flush.</summary>
    public int? CrashesPerFlush { get; set; }

    /// <summary>A random write, zeroing or discard, some with FUA.</summary>
    public async ValueTask RequestAsync()
    {
        BlockRange range = _seeds.Range(_image.Content.Length);
        bool isLong = _seeds.Chance(_row.LongPercent);
        range = new BlockRange(range.OffsetBytes, isLong ? range.LengthBytes : Math.Min(range.LengthBytes, ShortBytes));
        WriteFlags flags = _seeds.Chance(5) ? WriteFlags.ForceUnitAccess : WriteFlags.None;
        switch (_seeds.Next(9))
        {
            case < 2:
                History.Discard(range);
                await Node.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
                break;
            case < 4:
                DiskHistory.Change zeros = History.Write(range.OffsetBytes, new byte[range.LengthBytes]);
                await Node.WriteZeroesAsync(range.OffsetBytes, range.LengthBytes, flags, CancellationToken.None);
                zeros.IsDurable = flags == WriteFlags.ForceUnitAccess;
                break;
            default:
                await WriteAsync(range.OffsetBytes, _seeds.Bytes(range.LengthBytes), flags);
                break;
        }
    }

    public async ValueTask WriteAsync(long offsetBytes, byte[] data, WriteFlags flags = WriteFlags.None)
    {
        DiskHistory.Change change = History.Write(offsetBytes, data);
        await Node.WriteAsync(offsetBytes, data, flags, CancellationToken.None);
        change.IsDurable = flags == WriteFlags.ForceUnitAccess;
    }

    public async ValueTask FlushAsync()
    {
        await Node.FlushAsync(CancellationToken.None);
        History.Flush();
    }

    /// <summary>Random requests and flushes; it crashes at any moment.</summary>
    public async ValueTask RequestsAsync(int count, int flushPercent = 15)
    {
        for (int request = 0; request < count; request++)
        {
            _moment = $"at request {request}";
            await RequestAsync();
            if (_seeds.Chance(flushPercent))
            {
                await FlushAsync();
            }

            if (_seeds.Chance(8))
            {
                Crash();
            }
        }
    }

    /// <summary>Writes a range from its start to its end, with a flush after each step.</summary>
    public async ValueTask GrowAsync(int startBytes, int endBytes, int stepBytes)
    {
        for (int offsetBytes = startBytes; offsetBytes < endBytes; offsetBytes += stepBytes)
        {
            _moment = $"after a write at {offsetBytes}";
            await WriteAsync(offsetBytes, _seeds.Bytes(Math.Min(stepBytes, endBytes - offsetBytes)));
            await FlushAsync();
        }
    }

    /// <summary>Writes past the 2 MiB that the first refcount table of <see cref="CrashRows.MovingTable"/> counts; it crashes often while
    /// the table moves.</summary>
    public async ValueTask MoveRefcountTableAsync()
    {
        const int StartBytes = 1920 * 1024;
        CrashesPerFlush = 0;
        await GrowAsync(0, StartBytes, StartBytes);
        CrashesPerFlush = 4;
        await GrowAsync(StartBytes, 2080 * 1024, 32 * 1024);
    }

    /// <summary>Judges what a crash now would leave.</summary>
    /// <returns>The file it would leave.</returns>
    public byte[] Crash()
    {
        _planted?.Settle(null);
        byte[] crashed = Judge.Crash(File);
        Judge.Check(crashed, History, Context);
        return crashed;
    }

    /// <summary>Crashes, opens what that has left, and goes on with it.</summary>
    public async ValueTask GoOnAfterCrashAsync()
    {
        byte[] crashed = Crash();
        await GiveUpAsync();
        await using IBlockNode left = _image.Open(_row.Format, new MemoryContainer(crashed, isReadOnly: true, _image.Path));
        byte[] content = CrashImage.Read(left);
        (File, Node, History) = Begin(crashed, content);
    }

    /// <summary>Closes the image; then nothing is lost any more.</summary>
    public async ValueTask CloseAsync()
    {
        _moment = "when it was closed";
        await Node.DisposeAsync();
        History.Flush();
        Crash();
    }

    /// <summary>Ends without a word to the file: from now on every change of it fails.</summary>
    public async ValueTask GiveUpAsync()
    {
        File.FailFrom = 0;
        try
        {
            await Node.DisposeAsync();
        }
        catch (BlockException failure) when (failure.Kind == BlockErrors.IoFailed)
        {
            return;
        }
    }

    /// <summary>The place of a failure, for messages.</summary>
    public string Context => $"{_row.Name}, {_moment}, seed {_seeds.Seed}";

    private (MemoryContainer File, IBlockNode Node, DiskHistory History) Begin(byte[] bytes, byte[] content)
    {
        MemoryContainer file = new(bytes, path: _image.Path) { BeforeFlush = OnFlush };
        Container.IContainerFile planted = PlantedContainer.Plant(_fault, file, _row.Format);
        _planted = planted as PlantedContainer;
        IBlockNode node = _image.Open(_row.Format, planted);
        return (file, node, new DiskHistory(content));
    }

    // The image is not open yet while a log is replayed; the judge has crashes in that.
    private void OnFlush()
    {
        int crashes = Node is null ? 0 : CrashesPerFlush ?? _seeds.Next(2);
        for (int i = 0; i < crashes; i++)
        {
            Crash();
        }
    }
}
