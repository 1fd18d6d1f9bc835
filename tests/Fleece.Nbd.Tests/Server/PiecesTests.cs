// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Requests that come and go in pieces, because there is no memory for the whole.</summary>
public sealed class PiecesTests
{
    private const int KiB = 1024;
    private const int LengthBytes = 1000 * KiB;
    private const int OffsetBytes = 3 * 512;

    private readonly Seeds _seeds = Seeds.FromEnvironment();

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task A_write_and_a_read_in_pieces_are_what_they_would_be_as_a_whole(HeaderMode mode)
    {
        await using BlockDevice device = new(new MemoryNode(2048 * KiB), "vm");
        using TransmissionRig rig = new(device, 0);
        RawClient client = rig.Add(mode);
        byte[] data = _seeds.Bytes(LengthBytes);
        data.AsSpan(300 * KiB, 200 * KiB).Clear();

        Assert.Equal(NbdError.None, client.Write(OffsetBytes, data).Error);
        Answer answer = client.Call((int)NbdCommand.Read, OffsetBytes, LengthBytes);

        Assert.True(answer.Data(OffsetBytes, LengthBytes).AsSpan().SequenceEqual(data));
        Assert.Equal(mode == HeaderMode.Simple ? 0 : LengthBytes, answer.Chunks.Sum(CoveredBytes));
        Assert.Equal(mode != HeaderMode.Simple, answer.Chunks.Any(chunk => chunk.Type == ChunkType.OffsetHole));
    }

    // A cluster or block of the storage then arrives as a whole.
    [Fact]
    public async Task Pieces_of_a_write_end_at_whole_blocks_of_64_KiB()
    {
        RecordingNode recording = new(new MemoryNode(2048 * KiB));
        await using BlockDevice device = new(recording, "vm");
        using TransmissionRig rig = new(device, 0);
        rig.Add().Write(OffsetBytes, _seeds.Bytes(LengthBytes));

        long atBytes = OffsetBytes;
        foreach (BlockOperation operation in recording.Operations)
        {
            Assert.Equal(atBytes, operation.OffsetBytes);
            atBytes += operation.LengthBytes;
            Assert.True(atBytes % (64 * KiB) == 0 || atBytes == OffsetBytes + LengthBytes);
        }

        Assert.Equal(OffsetBytes + LengthBytes, atBytes);
    }

    [Fact]
    public async Task A_durable_write_in_pieces_is_flushed_once_and_before_its_reply()
    {
        RecordingNode recording = new(new MemoryNode(2048 * KiB));
        await using BlockDevice device = new(recording, "vm");
        using TransmissionRig rig = new(device, 0);
        rig.Add().Write(0, _seeds.Bytes(LengthBytes), (int)CommandFlags.Fua);

        Assert.Equal(1, recording.FlushCount);
        Assert.Equal(BlockOperationKind.Flush, recording.Operations[^1].Kind);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_durable_write_in_pieces_fails_with_its_flush(bool isLate)
    {
        IBlockNode failing = new FaultNode(new MemoryNode(2048 * KiB)).FailNth(BlockOperationKind.Flush, 1);
        await using BlockDevice device = new(isLate ? new DelayNode(failing, _seeds) : failing, "vm");
        using TransmissionRig rig = new(device, 0);

        Assert.Equal(NbdError.Io, rig.Add().Write(0, _seeds.Bytes(LengthBytes), (int)CommandFlags.Fua).Error);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_write_of_which_a_piece_fails_is_failed_once_and_the_connection_goes_on(bool isLate)
    {
        IBlockNode failing = new FaultNode(new MemoryNode(2048 * KiB)).FailNth(BlockOperationKind.Write, 3);
        await using BlockDevice device = new(isLate ? new DelayNode(failing, _seeds) : failing, "vm");
        using TransmissionRig rig = new(device, 0);
        RawClient client = rig.Add();

        Assert.Equal(NbdError.Io, client.Write(0, _seeds.Bytes(LengthBytes)).Error);
        Assert.Equal(NbdError.None, client.Write(0, _seeds.Bytes(LengthBytes)).Error);
    }

    [Theory]
    [InlineData(false, 0)]
    [InlineData(true, 0)]
    [InlineData(true, 16 * 1024 * KiB)]
    public async Task Late_pieces_of_several_writes_at_a_time_are_all_stored(bool isSlow, long budgetBytes)
    {
        MemoryNode memory = new(8192 * KiB);
        await using BlockDevice device = new(isSlow ? new SlowNode(memory) : new DelayNode(memory, _seeds), "vm");
        using TransmissionRig rig = new(device, budgetBytes);
        RawClient client = rig.Add();
        byte[] data = _seeds.Bytes(8 * LengthBytes);

        Task sending = OwnThread.Run(() =>
        {
            for (int i = 0; i < 8; i++)
            {
                client.BeginWrite((ulong)i * LengthBytes, data[(i * LengthBytes)..((i + 1) * LengthBytes)], (int)CommandFlags.Fua * (i % 2));
            }
        });
        Assert.All(client.ReadAnswers(8).Values, answer => Assert.Equal(NbdError.None, answer.Error));
        await sending;

        byte[] stored = new byte[data.Length];
        await device.ReadAsync(0, stored);
        Assert.True(stored.AsSpan().SequenceEqual(data));
    }

    [Theory]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task A_structured_read_of_which_a_piece_fails_says_so_and_the_connection_goes_on(HeaderMode mode)
    {
        await using BlockDevice device = new(new FaultNode(new MemoryNode(2048 * KiB)).FailNth(BlockOperationKind.Read, 3), "vm");
        using TransmissionRig rig = new(device, 0);
        RawClient client = rig.Add(mode);

        Assert.Equal(NbdError.Io, client.Call((int)NbdCommand.Read, 0, LengthBytes).Error);
        Assert.Equal(NbdError.None, client.Call((int)NbdCommand.Read, 0, LengthBytes).Error);
    }

    [Theory]
    [InlineData(HeaderMode.Simple, 0)]
    [InlineData(HeaderMode.Structured, (int)CommandFlags.DontFragment)]
    public async Task A_read_in_one_chunk_ends_with_its_connection_when_a_later_piece_fails(HeaderMode mode, int flags)
    {
        IBlockNode failing = new FaultNode(new MemoryNode(2048 * KiB)).FailNth(BlockOperationKind.Read, 3);
        await using BlockDevice device = new(failing, "vm");
        using TransmissionRig rig = new(device, 0);
        RawClient client = rig.Add(mode);

        client.Begin((int)NbdCommand.Read, 0, LengthBytes, flags);

        Assert.InRange(client.ReadToEnd(), 1, LengthBytes);
    }

    [Theory]
    [InlineData(HeaderMode.Simple, 0)]
    [InlineData(HeaderMode.Structured, (int)CommandFlags.DontFragment)]
    public async Task A_read_whose_first_piece_fails_says_so(HeaderMode mode, int flags)
    {
        IBlockNode failing = new FaultNode(new MemoryNode(2048 * KiB)).FailNth(BlockOperationKind.Read, 1);
        await using BlockDevice device = new(failing, "vm");
        using TransmissionRig rig = new(device, 0);

        Assert.Equal(NbdError.Io, rig.Add(mode).Call((int)NbdCommand.Read, 0, LengthBytes, flags).Error);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(16 * 1024 * KiB)]
    public async Task Late_block_statuses_are_answered_with_whatever_memory_there_is(long budgetBytes)
    {
        MemoryNode memory = new(2048 * KiB);
        await memory.WriteAsync(64 * KiB, _seeds.Bytes(64 * KiB), WriteFlags.None, CancellationToken.None);
        await using BlockDevice device = new(new DelayNode(memory, _seeds), "vm");
        using TransmissionRig rig = new(device, budgetBytes);
        RawClient client = rig.Add(HeaderMode.Extended);

        for (int i = 0; i < 20; i++)
        {
            client.Begin((int)NbdCommand.BlockStatus, 0, 2048 * KiB);
        }

        Assert.All(client.ReadAnswers(20).Values, answer => Assert.Equal(
            [(64 * KiB, 3u), (64 * KiB, 0u), (1920 * KiB, 3u)], answer.Extents(TransmissionRig.AllocationId)));
    }

    // It is a hint, so it succeeds and does nothing.
    [Theory]
    [InlineData(0, 0)]
    [InlineData(1024 * KiB, 2048 * KiB)]
    public async Task A_range_is_read_ahead_when_there_is_memory_for_it(long budgetBytes, long readBytes)
    {
        RecordingNode recording = new(new MemoryNode(2048 * KiB));
        await using BlockDevice device = new(recording, "vm");
        using TransmissionRig rig = new(device, budgetBytes);

        Assert.Equal(NbdError.None, rig.Add().Call((int)NbdCommand.Cache, 0, 2048 * KiB).Error);
        Assert.Equal(readBytes, recording.ReadBytes);
    }

    [Fact]
    public async Task A_read_that_may_not_be_fragmented_stays_one_chunk()
    {
        await using BlockDevice device = new(new MemoryNode(2048 * KiB), "vm");
        byte[] data = _seeds.Bytes(LengthBytes);
        await device.WriteAsync(0, data);
        using TransmissionRig rig = new(device, 0);

        Answer answer = rig.Add(HeaderMode.Extended).Call((int)NbdCommand.Read, 0, LengthBytes, (int)CommandFlags.DontFragment);

        Assert.Single(answer.Chunks);
        Assert.True(answer.Data(0, LengthBytes).AsSpan().SequenceEqual(data));
    }

    private static long CoveredBytes(Chunk chunk) => chunk.Type == ChunkType.OffsetHole
        ? BinaryPrimitives.ReadUInt32BigEndian(chunk.Payload.AsSpan(8))
        : chunk.Payload.Length - 8;
}
