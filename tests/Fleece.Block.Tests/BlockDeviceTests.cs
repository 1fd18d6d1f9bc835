// SPDX-License-Identifier: MIT
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests;

public sealed class BlockDeviceTests : IAsyncDisposable
{
    private const int DiskBytes = 1024 * 1024;

    private readonly RecordingNode _record;
    private readonly HoldNode _holds;
    private readonly BlockDevice _device;

    public BlockDeviceTests()
    {
        _record = new RecordingNode(new MemoryNode(DiskBytes));
        _holds = new HoldNode(_record);
        _device = new BlockDevice(_holds, "disk");
    }

    public ValueTask DisposeAsync() => _device.DisposeAsync();

    [Fact]
    public async Task Every_operation_reaches_the_root_as_it_was_asked()
    {
        await _device.WriteAsync(512, new byte[1024], WriteFlags.ForceUnitAccess);
        await _device.ReadAsync(0, new byte[4096]);
        await _device.WriteZeroesAsync(4096, 8192, WriteFlags.ForceUnitAccess);
        await _device.DiscardAsync(65536, 131072);
        await _device.FlushAsync();
        BlockStatusRun run = await _device.GetStatusAsync(0, DiskBytes);

        Assert.Equal(new BlockStatusRun(BlockStatus.Data, 65536), run);
        Assert.Equal(
            [
                new BlockOperation(0, BlockOperationKind.Write, 512, 1024, WriteFlags.ForceUnitAccess),
                new BlockOperation(1, BlockOperationKind.Read, 0, 4096),
                new BlockOperation(2, BlockOperationKind.WriteZeroes, 4096, 8192, WriteFlags.ForceUnitAccess),
                new BlockOperation(3, BlockOperationKind.Discard, 65536, 131072),
                new BlockOperation(4, BlockOperationKind.Flush),
                new BlockOperation(5, BlockOperationKind.Status, 0, DiskBytes),
            ],
            _record.Operations);
    }

    [Theory]
    [InlineData(DiskBytes, 1, BlockErrors.OutOfRange)]
    [InlineData(long.MaxValue - 8192, 4096, BlockErrors.OutOfRange)]
    [InlineData(long.MaxValue, 1, BlockErrors.InvalidRange)]
    [InlineData(-1, 1, BlockErrors.InvalidRange)]
    public async Task A_bad_range_is_refused_before_the_root_sees_it(
        long offsetBytes, int lengthBytes, string kind)
    {
        await CheckAllFailAsync(_device, offsetBytes, lengthBytes, kind);

        Assert.Empty(_record.Operations);
    }

    [Fact]
    public async Task A_misaligned_request_is_refused_before_the_root_sees_it()
    {
        await using BlockDevice device = new(new AlignedNode(_record, alignmentBytes: 4096), "disk");

        await CheckAllFailAsync(device, 512, 4096, BlockErrors.Misaligned);
        await CheckAllFailAsync(device, 4096, 512, BlockErrors.Misaligned);

        Assert.Empty(_record.Operations);
    }

    [Fact]
    public async Task A_failing_request_is_in_flight_no_more()
    {
        FaultNode faults = new(new MemoryNode(DiskBytes));
        await using BlockDevice device = new(faults, "disk");
        faults.FailWhen(static _ => true, BlockErrors.NoSpace);

        await CheckAllFailAsync(device, 0, 512, BlockErrors.NoSpace);
        await CheckFailsAsync(BlockErrors.NoSpace, () => device.FlushAsync());

        Assert.True(device.QuiesceAsync().AsTask().IsCompletedSuccessfully);
        device.Resume();
    }

    [Fact]
    public async Task Quiescing_waits_for_requests_in_flight()
    {
        Hold hold = _holds.HoldNext(BlockOperationKind.Write);
        Task write = _device.WriteAsync(0, new byte[512]).AsTask();
        await hold.Reached;
        Task quiesced = _device.QuiesceAsync().AsTask();
        Assert.False(quiesced.IsCompleted);

        hold.Release();

        await quiesced;
        Assert.Equal(512, _record.WrittenBytes);
        _device.Resume();
        await write;
    }

    [Fact]
    public async Task A_quiesced_device_holds_requests_of_every_kind_and_then_runs_them()
    {
        await _device.QuiesceAsync();
        Task[] requests =
        [
            _device.ReadAsync(0, new byte[512]).AsTask(),
            _device.WriteAsync(0, new byte[512]).AsTask(),
            _device.WriteZeroesAsync(0, 512).AsTask(),
            _device.DiscardAsync(0, 512).AsTask(),
            _device.FlushAsync().AsTask(),
            _device.GetStatusAsync(0, 512).AsTask(),
        ];
        Assert.All(requests, request => Assert.False(request.IsCompleted));
        Assert.Empty(_record.Operations);

        _device.Resume();

        await Task.WhenAll(requests);
        Assert.Equal(requests.Length, _record.Operations.Count);
    }

    [Fact]
    public async Task Requests_that_were_held_go_to_the_new_root()
    {
        RecordingNode next = new(new MemoryNode(DiskBytes));
        await _device.QuiesceAsync();
        Task write = _device.WriteAsync(0, new byte[512]).AsTask();
        _device.ReplaceRoot(next);

        _device.Resume();

        await write;
        Assert.Equal(512, next.WrittenBytes);
        Assert.Empty(_record.Operations);
    }

    [Fact]
    public async Task A_root_of_another_geometry_is_refused()
    {
        await _device.QuiesceAsync();

        BlockException exception = Assert.Throws<BlockException>(
            () => _device.ReplaceRoot(new MemoryNode(DiskBytes / 2)));

        Assert.Equal(BlockErrors.InvariantBroken, exception.Kind);
        Assert.Same(_holds, _device.Root);
    }

    [Theory]
    [InlineData(BlockOperationKind.Read)]
    [InlineData(BlockOperationKind.Write)]
    [InlineData(BlockOperationKind.WriteZeroes)]
    [InlineData(BlockOperationKind.Discard)]
    [InlineData(BlockOperationKind.Flush)]
    [InlineData(BlockOperationKind.Status)]
    public async Task A_broken_invariant_poisons_the_device_and_is_told_once(BlockOperationKind kind)
    {
        FaultNode faults = new(new MemoryNode(DiskBytes));
        faults.FailWhen(operation => operation.Kind == kind, BlockErrors.InvariantBroken);
        await using BlockDevice device = new(faults, "disk");
        List<BlockException> told = [];
        device.Poisoned = told.Add;

        BlockException first = await Assert.ThrowsAsync<BlockException>(() => RequestAsync(device, kind));

        faults.Clear();
        Assert.Equal(BlockErrors.InvariantBroken, first.Kind);
        await CheckAllFailAsync(device, 0, 512, BlockErrors.InvariantBroken);
        await CheckFailsAsync(BlockErrors.InvariantBroken, () => device.FlushAsync());
        Assert.Equal([first], told);
        Assert.Equal(1, faults.OperationCount);
    }

    [Fact]
    public async Task Another_error_poisons_nothing()
    {
        FaultNode faults = new(new MemoryNode(DiskBytes));
        faults.FailAt(0);
        await using BlockDevice device = new(faults, "disk") { Poisoned = _ => Assert.Fail("An error of the storage is no defect.") };

        await CheckFailsAsync(BlockErrors.IoFailed, () => device.WriteAsync(0, new byte[512]));

        await device.WriteAsync(0, new byte[512]);
    }

    [Fact]
    public async Task Closing_drains_before_it_disposes_the_root()
    {
        Hold hold = _holds.HoldNext(BlockOperationKind.Read);
        Task read = _device.ReadAsync(0, new byte[512]).AsTask();
        await hold.Reached;
        Task closed = _device.DisposeAsync().AsTask();
        Assert.False(closed.IsCompleted);
        Assert.False(_record.IsDisposed);

        hold.Release();

        await closed;
        await read;
        Assert.True(_record.IsDisposed);
        await _device.DisposeAsync();
    }

    [Fact]
    public async Task A_closed_device_refuses_everything_by_its_name()
    {
        await _device.DisposeAsync();

        await CheckAllFailAsync(_device, 0, 512, BlockErrors.Closed);
        await CheckFailsAsync(BlockErrors.Closed, () => _device.FlushAsync());
        BlockException exception = await CheckFailsAsync(BlockErrors.Closed, () => _device.QuiesceAsync());
        Assert.Contains("'disk'", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_device_names_the_closing_error_its_owner_chose()
    {
        BlockDevice device = new(new MemoryNode(DiskBytes), "disk", BlockErrors.Stopped);
        await device.DisposeAsync();

        await CheckAllFailAsync(device, 0, 512, BlockErrors.Stopped);
    }

    [Fact]
    public async Task Requests_held_by_a_quiesced_device_fail_when_it_closes()
    {
        await _device.QuiesceAsync();
        Task read = _device.ReadAsync(0, new byte[512]).AsTask();

        await _device.DisposeAsync();

        BlockException exception = await Assert.ThrowsAsync<BlockException>(() => read);
        Assert.Equal(BlockErrors.Closed, exception.Kind);
    }

    [Fact]
    public async Task No_request_runs_while_a_busy_device_is_quiesced()
    {
        // Goal: R6, the chain changes only while nothing runs. Method: tasks write through roots that give their
        // threads away; each root knows how many writes reached it and how many ended, and must know the same number of
        // both at the moment it is replaced.
        const int WriterCount = 8;
        const int Rounds = 200;
        Seeds seeds = Seeds.FromEnvironment();
        MemoryNode disk = new(DiskBytes);
        RecordingNode root = new(new DelayNode(disk, seeds));
        await using BlockDevice device = new(root, "disk");
        using CancellationTokenSource stop = new();
        Task[] writers = new Task[WriterCount];
        for (int i = 0; i < WriterCount; i++)
        {
            int offsetBytes = i * 512;
            writers[i] = Task.Run(async () =>
            {
                while (!stop.IsCancellationRequested)
                {
                    await device.WriteAsync(offsetBytes, new byte[512]);
                }
            });
        }

        for (int round = 0; round < Rounds; round++)
        {
            await device.QuiesceAsync();
            Assert.Equal(root.Count(BlockOperationKind.Write) * 512L, root.WrittenBytes);
            root = new RecordingNode(new DelayNode(disk, seeds));
            device.ReplaceRoot(root);
            device.Resume();
        }

        await stop.CancelAsync();
        await Task.WhenAll(writers);
    }

    private static async Task RequestAsync(BlockDevice device, BlockOperationKind kind)
    {
        switch (kind)
        {
            case BlockOperationKind.Read:
                await device.ReadAsync(0, new byte[512]);
                break;
            case BlockOperationKind.Write:
                await device.WriteAsync(0, new byte[512]);
                break;
            case BlockOperationKind.WriteZeroes:
                await device.WriteZeroesAsync(0, 512);
                break;
            case BlockOperationKind.Discard:
                await device.DiscardAsync(0, 512);
                break;
            case BlockOperationKind.Status:
                _ = await device.GetStatusAsync(0, 512);
                break;
            default:
                await device.FlushAsync();
                break;
        }
    }

    private static async Task CheckAllFailAsync(
        BlockDevice device, long offsetBytes, int lengthBytes, string kind)
    {
        byte[] bytes = new byte[lengthBytes];
        await CheckFailsAsync(kind, () => device.ReadAsync(offsetBytes, bytes));
        await CheckFailsAsync(kind, () => device.WriteAsync(offsetBytes, bytes));
        await CheckFailsAsync(kind, () => device.WriteZeroesAsync(offsetBytes, lengthBytes));
        await CheckFailsAsync(kind, () => device.DiscardAsync(offsetBytes, lengthBytes));
        await CheckFailsAsync(kind, async () => await device.GetStatusAsync(offsetBytes, lengthBytes));
    }

    private static async Task<BlockException> CheckFailsAsync(string kind, Func<ValueTask> operation)
    {
        BlockException exception = await Assert.ThrowsAsync<BlockException>(async () => await operation());
        Assert.Equal(kind, exception.Kind);
        return exception;
    }
}
