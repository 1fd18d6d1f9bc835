// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>One run of guest, reader and consumer, again and again, each time with a fault at another of its requests to disk or temp.</summary>
/// <remarks>The run without a fault is recorded first; then each request that it made fails once, whole or half done. After it the guest
/// does again what failed. Whatever fails, a snapshot read that succeeds has the bytes of the instant, and a guest's request fails by the
/// policy alone or with its own request to the disk.</remarks>
public sealed class FaultSweepTests
{
    private const int G = PointInTime.DefaultGranuleSizeBytes;
    private const int DiskBytes = (64 * G) + 512;

    private static readonly Step[] Script =
    [
        new(Who.Guest, BlockOperationKind.Write, 0, G),
        new(Who.Guest, BlockOperationKind.Write, (3 * G) - 512, 1024),
        new(Who.Reader, BlockOperationKind.Read, 0, 8 * G),
        new(Who.Guest, BlockOperationKind.Write, 8 * G, 20 * G),
        new(Who.Guest, BlockOperationKind.Write, 10 * G, G),
        new(Who.Reader, BlockOperationKind.Status, 0, DiskBytes),
        new(Who.Reader, BlockOperationKind.Read, 6 * G, 30 * G),
        new(Who.Reader, BlockOperationKind.Discard, 0, 4 * G),
        new(Who.Guest, BlockOperationKind.Write, G, 2 * G),
        new(Who.Guest, BlockOperationKind.WriteZeroes, 30 * G, 6 * G),
        new(Who.Guest, BlockOperationKind.Discard, (40 * G) + 512, 3 * G),
        new(Who.Guest, BlockOperationKind.Read, 0, DiskBytes),
        new(Who.Guest, BlockOperationKind.Flush, 0, 0),
        new(Who.Reader, BlockOperationKind.Discard, 9 * G, 12 * G),
        new(Who.Guest, BlockOperationKind.Write, 60 * G, (4 * G) + 512),
        new(Who.Reader, BlockOperationKind.Read, 21 * G, DiskBytes - (21 * G)),
    ];

    private enum Who
    {
        Guest,
        Reader,
    }

    [Theory]
    [InlineData(CopyErrorPolicy.BreakSnapshot, false)]
    [InlineData(CopyErrorPolicy.BreakSnapshot, true)]
    [InlineData(CopyErrorPolicy.BreakGuestWrite, false)]
    [InlineData(CopyErrorPolicy.BreakGuestWrite, true)]
    public async Task Each_request_to_the_disk_may_fail(CopyErrorPolicy policy, bool isTorn)
    {
        long count = (await RunAsync(policy)).Disk.OperationCount;
        Assert.InRange(count, 20, 1000);
        for (long order = 0; order < count; order++)
        {
            await RunAsync(policy, failingOnDisk: order, isTorn: isTorn);
        }
    }

    [Theory]
    [InlineData(CopyErrorPolicy.BreakSnapshot, false)]
    [InlineData(CopyErrorPolicy.BreakSnapshot, true)]
    [InlineData(CopyErrorPolicy.BreakGuestWrite, false)]
    [InlineData(CopyErrorPolicy.BreakGuestWrite, true)]
    public async Task Each_request_to_temp_may_fail(CopyErrorPolicy policy, bool isTorn)
    {
        long count = (await RunAsync(policy)).Temp.OperationCount;
        Assert.InRange(count, 15, 1000);
        for (long order = 0; order < count; order++)
        {
            await RunAsync(policy, failingOnTemp: order, isTorn: isTorn);
        }
    }

    private static async Task<Run> RunAsync(
        CopyErrorPolicy policy, long? failingOnDisk = null, long? failingOnTemp = null, bool isTorn = false)
    {
        Run run = new(policy, failingOnDisk, failingOnTemp, isTorn);
        foreach (Step step in Script)
        {
            await run.DoAsync(step);
        }

        await run.CheckEndAsync();
        return run;
    }

    private sealed record Step(Who Who, BlockOperationKind Kind, int OffsetBytes, int LengthBytes);

    private sealed class Run
    {
        private readonly Seeds _seeds = new(11);
        private readonly CopyErrorPolicy _policy;
        private readonly string _fault;
        private readonly byte[] _instant;
        private readonly byte[] _content;
        private readonly PointInTime _point;
        private BlockOperation? _failed;
        private bool _isOver;

        public Run(CopyErrorPolicy policy, long? failingOnDisk, long? failingOnTemp, bool isTorn)
        {
            _policy = policy;
            _fault = failingOnDisk is { } order ? $"disk request {order}" : $"temp request {failingOnTemp}";
            MemoryNode disk = new(DiskBytes);
            _instant = _seeds.Bytes(DiskBytes);

            // Zeros are copied in another way than data.
            _instant.AsSpan(32 * G, 10 * G).Clear();
            disk.WriteAsync(0, _instant, WriteFlags.None, CancellationToken.None).AsTask().GetAwaiter().GetResult();
            _content = [.. _instant];
            Disk = new FaultNode(disk).FailWhen(operation => Fails(operation, failingOnDisk), isTorn: isTorn);
            Temp = new FaultNode(new MemoryNode(DiskBytes)).FailWhen(operation => Fails(operation, failingOnTemp), isTorn: isTorn);
            _point = new PointInTime(Disk, Temp, tempReadsAsZero: true, policy: policy);
        }

        public FaultNode Disk { get; }

        public FaultNode Temp { get; }

        /// <summary>Does a step; a guest whose request fails asks once more, and gets it then.</summary>
        public async Task DoAsync(Step step)
        {
            if (step.Who == Who.Reader)
            {
                await ReadAsync(step);
                return;
            }

            byte[] data = _seeds.Bytes(step.LengthBytes);
            bool hadFailed = _failed is not null;
            if (await FailsAsync(() => AskAsync(step, data)) is { } error)
            {
                Assert.True(!hadFailed && MayHarmGuest(step), $"{_fault}: {step} failed: {error}");
                Assert.Null(await FailsAsync(() => AskAsync(step, data)));
            }

            Memory<byte> changed = _content.AsMemory(step.OffsetBytes, step.LengthBytes);
            if (step.Kind == BlockOperationKind.Write)
            {
                data.CopyTo(changed);
            }
            else if (step.Kind == BlockOperationKind.WriteZeroes)
            {
                changed.Span.Clear();
            }
            else if (step.Kind == BlockOperationKind.Discard)
            {
                // A disk keeps of this what it likes.
                await Disk.Inner.ReadAsync(step.OffsetBytes, changed, CancellationToken.None);
            }
        }

        /// <summary>The guest has all that it wrote, and the snapshot is whole or says why it is lost.</summary>
        public async Task CheckEndAsync()
        {
            _isOver = true;
            byte[] content = new byte[DiskBytes];
            await _point.Filter.ReadAsync(0, content, CancellationToken.None);
            Assert.True(content.AsSpan().SequenceEqual(_content), $"{_fault}: the guest's disk");
            if (_policy == CopyErrorPolicy.BreakGuestWrite || _failed is null)
            {
                Assert.True(_point.State == SessionState.Active, $"{_fault}: {_point.BrokenBy}");
            }

            if (_point.State == SessionState.Broken)
            {
                Assert.Equal(BlockErrors.IoFailed, _point.BrokenBy!.RootKind);
                return;
            }

            // All that was not discarded.
            await ReadAsync(new Step(Who.Reader, BlockOperationKind.Read, 4 * G, 5 * G));
            await ReadAsync(new Step(Who.Reader, BlockOperationKind.Read, 21 * G, DiskBytes - (21 * G)));
            await Fleecing.AssertRefusedAsync(BlockErrors.Consumed, _point.Snapshot, new BlockRange(0, 4 * G));
        }

        private async Task ReadAsync(Step step)
        {
            byte[] buffer = new byte[step.LengthBytes];
            bool hadFailed = _failed is not null;
            BlockException? error = await FailsAsync(async () => await (step.Kind switch
            {
                BlockOperationKind.Discard => _point.Snapshot.DiscardAsync(step.OffsetBytes, step.LengthBytes, CancellationToken.None),
                BlockOperationKind.Status => QueryAsync(step),
                _ => _point.Snapshot.ReadAsync(step.OffsetBytes, buffer, CancellationToken.None),
            }));
            if (error is not null)
            {
                bool isOwn = !hadFailed && _failed is not null;
                Assert.True(isOwn || _point.State == SessionState.Broken, $"{_fault}: {step} failed: {error}");
                return;
            }

            if (step.Kind == BlockOperationKind.Read)
            {
                Assert.True(buffer.AsSpan().SequenceEqual(_instant.AsSpan(step.OffsetBytes, step.LengthBytes)), $"{_fault}: {step}");
            }
        }

        private async ValueTask QueryAsync(Step step) =>
            _ = await _point.Snapshot.GetStatusAsync(step.OffsetBytes, step.LengthBytes, CancellationToken.None);

        private ValueTask AskAsync(Step step, byte[] data) => step.Kind switch
        {
            BlockOperationKind.Write => _point.Filter.WriteAsync(step.OffsetBytes, data, WriteFlags.None, CancellationToken.None),
            BlockOperationKind.WriteZeroes =>
                _point.Filter.WriteZeroesAsync(step.OffsetBytes, step.LengthBytes, WriteFlags.None, CancellationToken.None),
            BlockOperationKind.Discard => _point.Filter.DiscardAsync(step.OffsetBytes, step.LengthBytes, CancellationToken.None),
            BlockOperationKind.Flush => _point.Filter.FlushAsync(CancellationToken.None),
            _ => _point.Filter.ReadAsync(step.OffsetBytes, data, CancellationToken.None),
        };

        // Its own request to the disk; or what its copy asked for, where the policy says so.
        private bool MayHarmGuest(Step step) =>
            _policy == CopyErrorPolicy.BreakGuestWrite || (_failed?.Kind == step.Kind && Disk.FaultCount != 0);

        private bool Fails(BlockOperation operation, long? order)
        {
            if (_isOver || operation.Order != order)
            {
                return false;
            }

            _failed = operation;
            return true;
        }

        private static async Task<BlockException?> FailsAsync(Func<ValueTask> ask)
        {
            try
            {
                await ask();
                return null;
            }
            catch (BlockException e)
            {
                return e;
            }
        }
    }
}
