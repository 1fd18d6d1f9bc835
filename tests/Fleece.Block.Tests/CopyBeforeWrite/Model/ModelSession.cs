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
internal sealed partial class ModelSession : IAsyncDisposable
{
    private readonly TempFolder? _folder;
    private readonly bool[] _isDenied;
    private readonly ConsumptionMarks _consumed;
    private readonly string[] _consumers;
    private readonly IBlockNode _disk;
    private readonly StoredNode _temp;

    public ModelSession(ModelOptions options)
    {
        Options = options;
        Seeds = new Seeds(options.Seed);
        _folder = options.OnFiles ? new TempFolder() : null;
        _consumers = [.. Enumerable.Range(0, options.Consumers).Select(consumer => $"consumer {consumer}")];
        _disk = Delayed(Mortal(CreateNode()));
        Instant = CreateInstant();
        _disk.WriteAsync(0, Instant, WriteFlags.None, CancellationToken.None).AsTask().Wait();
        Guest = new ReferenceDisk(options.DiskBytes);
        Guest.Write(0, Instant);

        FaultNode faults = new(Delayed(Mortal(CreateNode())));
        Seeds own = Seeds.Fork();
        if (options.FaultEvery > 0)
        {
            faults.FailWhen(
                o => o.Kind == BlockOperationKind.Write && own.Next(options.FaultEvery) == 0,
                BlockErrors.NoSpace,
                isTorn: true);
        }

        _temp = new StoredNode(faults, options.GranuleSizeBytes);
        BlockRange[]? ranges = options.IsLimited
            ? [.. Enumerable.Range(0, 4).Select(_ => Seeds.Range(options.DiskBytes))]
            : null;
        if (options.Kills > 0)
        {
            Seeds room = Seeds.Fork();
            Journal = new RecordedJournal(() => _life, () => options.FaultEvery > 0 && room.Next(options.FaultEvery) == 0);
        }

        Point = new PointInTime(
            _disk, _temp, true, options.GranuleSizeBytes, options.Policy, ranges, consumers: _consumers, journal: Journal);
        Journal?.WriteMapsAsync(Point, Seeds.Fork()).Wait();
        int count = (int)Point.Granules.Count;
        _isDenied = new bool[count];
        _consumed = new ConsumptionMarks(count, options.Consumers);
        for (int granule = 0; ranges is not null && granule < count; granule++)
        {
            BlockRange bytes = Point.Granules.Bytes(new GranuleRun(granule, granule + 1));
            _isDenied[granule] = !ranges.Any(r => r.Overlaps(bytes));
        }
    }

    public ModelOptions Options { get; }

    public Seeds Seeds { get; }

    public PointInTime Point { get; private set; }

    /// <summary>What the snapshot holds.</summary>
    public byte[] Instant { get; }

    /// <summary>What the guest's own regions hold.</summary>
    public ReferenceDisk Guest { get; }

    public bool MayFail(string? kind) =>
        kind is null || (Options.FaultEvery > 0 && kind is BlockErrors.TempFull or BlockErrors.SessionLogFull);

    /// <summary>Discards a range; which granules that takes is computed here anew, not asked of the engine.</summary>
    public async Task ConsumeAsync(BlockRange range, int? consumer = null)
    {
        ForWhole(range, granule => _consumed.Begin(consumer, granule));
        try
        {
            await SnapshotOf(consumer).DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
        }
        catch (BlockException e)
        {
            ThrowIfKilled();
            Assert.True(IsOver(e.Kind) || (Options.FaultEvery > 0 && e.Kind == BlockErrors.SessionLogFull), e.Kind);
            return;
        }

        ForWhole(range, granule => _consumed.End(consumer, granule));
    }

    /// <summary>Reads and checks the bytes, or checks that the error is one that may come there and then.</summary>
    public async Task ReadAsync(BlockRange range, int? consumer = null)
    {
        bool mustFail = Any(range, g => _isDenied[g] || _consumed.MustBeRefused(consumer, g));
        byte[] read = new byte[range.LengthBytes];
        try
        {
            await SnapshotOf(consumer).ReadAsync(range.OffsetBytes, read, CancellationToken.None);
        }
        catch (BlockException e)
        {
            ThrowIfKilled();
            AssertMayRefuse(e.Kind, range, consumer);
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
            ThrowIfKilled();
            AssertMayRefuse(e.Kind, new BlockRange(range.OffsetBytes, 1), null);
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
                run.State == SnapshotRunState.Consumed && Any(range, g => !_consumed.MayBeRefused(null, g)),
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
                Point.State == SessionState.Active && _consumed.MustBeRefused(null, granule) && _temp.Holds(granule),
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

    private SnapshotAccess SnapshotOf(int? consumer) => consumer is { } index ? Point.Consumers[index].Snapshot : Point.Snapshot;

    private void ForWhole(BlockRange range, Action<long> mark)
    {
        for (int granule = 0; granule < _isDenied.Length; granule++)
        {
            if (!range.IsEmpty && range.Contains(Point.Granules.Bytes(new GranuleRun(granule, granule + 1))))
            {
                mark(granule);
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

    private void AssertMayRefuse(string kind, BlockRange range, int? consumer) => Assert.True(
        IsOver(kind) ||
        (kind == BlockErrors.Denied && Any(range, g => _isDenied[g])) ||
        (kind == BlockErrors.Consumed && Any(range, g => _consumed.MayBeRefused(consumer, g))),
        $"{range} fails with {kind}");

    private bool IsOver(string kind) =>
        kind == BlockErrors.Broken && Options is { FaultEvery: > 0, Policy: CopyErrorPolicy.BreakSnapshot };
}
