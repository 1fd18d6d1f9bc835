// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite.Model;

/// <summary>A session beside two arrays of bytes: what the snapshot must show and what the guest must find.</summary>
/// <remarks>
/// The front of the disk is divided among the writers at borders that share granules, so that each knows its own bytes
/// while their copies meet; the back is contended, and there only the snapshot's side is checked.
/// </remarks>
internal sealed class ModelSession : IAsyncDisposable
{
    private readonly TempFolder? _folder;
    private readonly bool[] _isDenied;
    private readonly bool[] _consumeBegun;
    private readonly bool[] _consumeEnded;
    private readonly IBlockNode _disk;
    private readonly StoredNode _temp;

    public ModelSession(ModelOptions options)
    {
        Options = options;
        Seeds = new Seeds(options.Seed);
        _folder = options.OnFiles ? new TempFolder() : null;
        _disk = Delayed(CreateNode());
        Instant = CreateInstant();
        _disk.WriteAsync(0, Instant, WriteFlags.None, CancellationToken.None).AsTask().Wait();
        Guest = new ReferenceDisk(options.DiskBytes);
        Guest.Write(0, Instant);

        FaultNode faults = new(Delayed(CreateNode()));
        if (options.FaultEvery > 0)
        {
            Seeds own = Seeds.Fork();
            faults.FailWhen(
                o => o.Kind == BlockOperationKind.Write && own.Next(options.FaultEvery) == 0,
                BlockErrors.NoSpace,
                isTorn: true);
        }

        _temp = new StoredNode(faults, options.GranuleSizeBytes);
        BlockRange[]? ranges = options.IsLimited
            ? [.. Enumerable.Range(0, 4).Select(_ => Seeds.Range(options.DiskBytes))]
            : null;
        Point = new PointInTime(_disk, _temp, true, options.GranuleSizeBytes, options.Policy, ranges);
        int count = (int)Point.Granules.Count;
        _isDenied = new bool[count];
        _consumeBegun = new bool[count];
        _consumeEnded = new bool[count];
        for (int granule = 0; ranges is not null && granule < count; granule++)
        {
            BlockRange bytes = Point.Granules.Bytes(new GranuleRun(granule, granule + 1));
            _isDenied[granule] = !ranges.Any(r => r.Overlaps(bytes));
        }
    }

    public ModelOptions Options { get; }

    public Seeds Seeds { get; }

    public PointInTime Point { get; }

    /// <summary>What the snapshot holds.</summary>
    public byte[] Instant { get; }

    /// <summary>What the guest's own regions hold.</summary>
    public ReferenceDisk Guest { get; }

    public bool MayFail(string? kind) =>
        kind is null || (Options.FaultEvery > 0 && kind == BlockErrors.TempFull);

    /// <summary>Discards a range; which granules that takes is computed here anew, not asked of the engine.</summary>
    public async Task ConsumeAsync(BlockRange range)
    {
        MarkWhole(range, _consumeBegun);
        try
        {
            await Point.Snapshot.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
        }
        catch (BlockException e) when (IsOver(e.Kind))
        {
            return;
        }

        MarkWhole(range, _consumeEnded);
    }

    /// <summary>Reads and checks the bytes, or checks that the error is one that may come there and then.</summary>
    public async Task ReadAsync(BlockRange range)
    {
        bool mustFail = Any(range, g => _isDenied[g] || Volatile.Read(ref _consumeEnded[g]));
        byte[] read = new byte[range.LengthBytes];
        try
        {
            await Point.Snapshot.ReadAsync(range.OffsetBytes, read, CancellationToken.None);
        }
        catch (BlockException e)
        {
            AssertMayRefuse(e.Kind, range);
            return;
        }

        Assert.False(mustFail, $"{range} is refused and was read");
        int same = read.AsSpan().CommonPrefixLength(Instant.AsSpan((int)range.OffsetBytes));
        Assert.True(same == read.Length, $"offset {range.OffsetBytes + same} of {range} is not the instant's");
    }

    /// <summary>Asks for status; a run ends at the first refused granule and zeros are zeros.</summary>
    public async Task AskAsync(BlockRange range)
    {
        BlockStatusRun run;
        try
        {
            run = await Point.Snapshot.GetStatusAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
        }
        catch (BlockException e)
        {
            AssertMayRefuse(e.Kind, new BlockRange(range.OffsetBytes, 1));
            return;
        }

        Assert.InRange(run.LengthBytes, 1, range.LengthBytes);
        BlockRange answered = new(range.OffsetBytes, run.LengthBytes);
        Assert.False(Any(answered, g => _isDenied[g]), $"status {answered} reaches into denied granules");
        ReadOnlySpan<byte> bytes = Instant.AsSpan((int)answered.OffsetBytes, (int)answered.LengthBytes);
        Assert.False(run.ReadsAsZero && bytes.ContainsAnyExcept((byte)0), $"{answered} is called zero");
    }

    /// <summary>Walks the map; every run says what it may say.</summary>
    public void Walk()
    {
        for (long at = 0; at < Options.DiskBytes;)
        {
            SnapshotRun run = Point.Snapshot.GetRun(at);
            Assert.True(run.OffsetBytes == at && run.LengthBytes > 0, $"run {run} at {at}");
            BlockRange range = new(at, run.LengthBytes);
            Assert.False(
                run.State == SnapshotRunState.Denied && Any(range, g => !_isDenied[g]), $"{run} is not all denied");
            Assert.False(
                run.State == SnapshotRunState.Consumed && Any(range, g => !Volatile.Read(ref _consumeBegun[g])),
                $"{run} was not all consumed");
            at += run.LengthBytes;
        }
    }

    /// <summary>What must hold when all threads are done.</summary>
    public async Task CheckEndAsync(long guestEndBytes)
    {
        byte[] guest = new byte[guestEndBytes];
        await _disk.ReadAsync(0, guest, CancellationToken.None);
        Guest.Check(0, guest, "the guest's own regions");
        for (long granule = 0; granule < Point.Granules.Count; granule++)
        {
            await ReadAsync(Point.Granules.Bytes(new GranuleRun(granule, granule + 1)));
            Assert.False(
                Point.State == SessionState.Active && _consumeEnded[granule] && _temp.Holds(granule),
                $"temp keeps consumed granule {granule}");
        }

        Assert.False(Options.FaultEvery == 0 && Point.State != SessionState.Active, $"{Point.BrokenBy}");
    }

    public async ValueTask DisposeAsync()
    {
        await _disk.DisposeAsync();
        await _temp.DisposeAsync();
        _folder?.Dispose();
    }

    private IBlockNode Delayed(IBlockNode node) => Options.IsDelayed ? new DelayNode(node, Seeds) : node;

    private IBlockNode CreateNode() =>
        _folder is null ? new MemoryNode(Options.DiskBytes) : FileNode.Create(_folder.NewFile(), Options.DiskBytes);

    // Data with holes of all sizes, so that zero runs begin and end inside granules.
    private byte[] CreateInstant()
    {
        byte[] bytes = Seeds.Bytes(Options.DiskBytes);
        for (int i = 0; i < 6; i++)
        {
            BlockRange hole = Seeds.Range(bytes.Length / 2);
            bytes.AsSpan((int)hole.OffsetBytes, (int)hole.LengthBytes).Clear();
        }

        return bytes;
    }

    private void MarkWhole(BlockRange range, bool[] marks)
    {
        for (int granule = 0; granule < marks.Length; granule++)
        {
            if (!range.IsEmpty && range.Contains(Point.Granules.Bytes(new GranuleRun(granule, granule + 1))))
            {
                Volatile.Write(ref marks[granule], true);
            }
        }
    }

    private bool Any(BlockRange range, Func<long, bool> wanted)
    {
        int granule = Options.GranuleSizeBytes;
        for (long at = range.OffsetBytes / granule; at * granule < range.EndBytes; at++)
        {
            if (!range.IsEmpty && wanted(at))
            {
                return true;
            }
        }

        return false;
    }

    private void AssertMayRefuse(string kind, BlockRange range) => Assert.True(
        IsOver(kind) ||
        (kind == BlockErrors.Denied && Any(range, g => _isDenied[g])) ||
        (kind == BlockErrors.Consumed && Any(range, g => Volatile.Read(ref _consumeBegun[g]))),
        $"{range} fails with {kind}");

    private bool IsOver(string kind) =>
        kind == BlockErrors.Broken && Options is { FaultEvery: > 0, Policy: CopyErrorPolicy.BreakSnapshot };
}
