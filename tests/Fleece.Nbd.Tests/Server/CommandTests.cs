// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>What each command does, in each of the three forms.</summary>
public sealed class CommandTests
{
    private const int Read = (int)NbdCommand.Read;
    private const int Flush = (int)NbdCommand.Flush;
    private const int Trim = (int)NbdCommand.Trim;
    private const int Cache = (int)NbdCommand.Cache;
    private const int Zero = (int)NbdCommand.WriteZeroes;

    private readonly Seeds _seeds = Seeds.FromEnvironment();

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task What_was_written_is_read(HeaderMode mode)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Go(mode);
        byte[] data = _seeds.Bytes(100_001);

        Assert.Equal(NbdError.None, client.Write(4711, data).Error);

        Assert.Equal(data, client.ReadDisk(4711, data.Length));
        Assert.Equal(data, await disk.ReadAsync(4711, data.Length));
    }

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task The_largest_read_and_write_are_32_MiB(HeaderMode mode)
    {
        const int Largest = 32 * 1024 * 1024;
        await using ServedDisk disk = new(Largest + 1);
        using RawClient client = disk.Go(mode);
        byte[] data = new byte[Largest];
        data.AsSpan().Fill(7);
        data[^1] = 9;

        Assert.Equal(NbdError.None, client.Write(1, data).Error);

        Assert.True(data.AsSpan().SequenceEqual(client.ReadDisk(1, Largest)));
    }

    [Theory]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task Zeros_are_told_as_a_hole(HeaderMode mode)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Go(mode);

        Chunk only = Assert.Single(client.Call(Read, 4096, 65536).Chunks);

        Assert.Equal((1, ChunkType.OffsetHole), (only.Flags, only.Type));
        Assert.Equal(new Packet().U64(4096).U32(65536).ToArray(), only.Payload);
    }

    [Theory]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task Data_comes_in_one_chunk_behind_its_offset_also_with_DF(HeaderMode mode)
    {
        await using ServedDisk disk = new();
        byte[] data = _seeds.Bytes(512);
        await disk.Device.WriteAsync(70_000, data);
        using RawClient client = disk.Go(mode);
        foreach (CommandFlags flags in (CommandFlags[])[CommandFlags.None, CommandFlags.DontFragment])
        {
            Chunk only = Assert.Single(client.Call(Read, 69_000, 100_000, (int)flags).Chunks);

            Assert.Equal((1, ChunkType.OffsetData), (only.Flags, only.Type));
            Assert.Equal([.. new Packet().U64(69_000).ToArray(), .. await disk.ReadAsync(69_000, 100_000)], only.Payload);
        }
    }

    // The extended reply repeats the offset of the request in its header.
    [Fact]
    public async Task The_bytes_of_extended_replies_are_those_of_the_specification()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Go(HeaderMode.Extended);
        client.Send(Packet.Request(HeaderMode.Extended, Flush, 0x0102030405060708, 0, 0));
        client.Send(Packet.Request(HeaderMode.Extended, Read, 0x1112131415161718, 0x1000, 0x200));

        Packet none = new Packet().U32(0x6e8a278c).U16(1).U16(0).U64(0x0102030405060708).U64(0).U64(0);
        Packet hole = new Packet().U32(0x6e8a278c).U16(1).U16(2).U64(0x1112131415161718).U64(0x1000).U64(12).U64(0x1000).U32(0x200);
        Assert.Equal(none.ToArray(), client.Read(32));
        Assert.Equal(hole.ToArray(), client.Read(44));
    }

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task Requests_of_no_length_succeed_anywhere_up_to_the_end(HeaderMode mode)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Go(mode);
        foreach (ulong offset in (ulong[])[0, 12345, 1024 * 1024])
        {
            Assert.Empty(client.ReadDisk(offset, 0));
            Assert.Equal(NbdError.None, client.Write(offset, []).Error);
            Assert.Equal(NbdError.None, client.Call(Trim, offset, 0).Error);
            Assert.Equal(NbdError.None, client.Call(Zero, offset, 0).Error);
            Assert.Equal(NbdError.None, client.Call(Cache, offset, 0).Error);
        }
    }

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Extended)]
    public async Task A_flush_reaches_the_storage(HeaderMode mode)
    {
        RecordingNode node = new(new MemoryNode(4096));
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go(mode);

        Assert.Equal(NbdError.None, client.Call(Flush, 0, 0).Error);

        Assert.Equal(BlockOperationKind.Flush, Assert.Single(node.Operations).Kind);
    }

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Extended)]
    public async Task Forced_changes_are_durable_when_they_are_answered(HeaderMode mode)
    {
        RecordingNode node = new(new MemoryNode(65536));
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go(mode);

        client.Write(0, [1, 2], (int)CommandFlags.Fua);
        client.Call(Zero, 0, 4096, (int)CommandFlags.Fua);
        client.Call(Trim, 0, 4096, (int)CommandFlags.Fua);

        Assert.Equal(
            [
                (BlockOperationKind.Write, WriteFlags.ForceUnitAccess),
                (BlockOperationKind.WriteZeroes, WriteFlags.ForceUnitAccess),
                (BlockOperationKind.Discard, WriteFlags.None),
                (BlockOperationKind.Flush, WriteFlags.None),
            ],
            node.Operations.Select(operation => (operation.Kind, operation.Flags)));
    }

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task Zeroes_are_written_and_trims_are_discards(HeaderMode mode)
    {
        RecordingNode node = new(new MemoryNode(1024 * 1024));
        await using ServedDisk disk = new(node);
        await disk.Device.WriteAsync(0, _seeds.Bytes(1024 * 1024));
        byte[] before = await disk.ReadAsync(0, 1024 * 1024);
        using RawClient client = disk.Go(mode);

        Assert.Equal(NbdError.None, client.Call(Zero, 1000, 5000).Error);
        Assert.Equal(NbdError.None, client.Call(Trim, 131072, 65536).Error);

        before.AsSpan(1000, 5000).Clear();
        before.AsSpan(131072, 65536).Clear();
        Assert.Equal(before, client.ReadDisk(0, before.Length));
        Assert.Equal(new BlockRange(131072, 65536), node.Operations.Single(o => o.Kind == BlockOperationKind.Discard).Range);
    }

    [Fact]
    public async Task Zeroes_without_a_hole_are_written_one_by_one()
    {
        RecordingNode node = new(new MemoryNode(1024 * 1024));
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go();

        Assert.Equal(NbdError.None, client.Call(Zero, 4096, 700_000, (int)CommandFlags.NoHole).Error);

        Assert.Equal(0, node.Count(BlockOperationKind.WriteZeroes));
        Assert.Equal(700_000, node.WrittenBytes);
    }

    [Fact]
    public async Task Zeroes_that_must_be_fast_are_asked_for_so()
    {
        RecordingNode node = new(new MemoryNode(1024 * 1024));
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go();

        Assert.Equal(NbdError.None, client.Call(Zero, 0, 65536, (int)CommandFlags.FastZero).Error);

        Assert.Equal(WriteFlags.OnlyIfFast, Assert.Single(node.Operations).Flags);
    }

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Extended)]
    public async Task Zeroes_that_can_not_be_fast_are_not_supported_and_change_nothing(HeaderMode mode)
    {
        FaultNode node = new(new MemoryNode(1024 * 1024));
        node.FailWhen(operation => operation.Flags == WriteFlags.OnlyIfFast, BlockErrors.Unsupported);
        await using ServedDisk disk = new(node);
        byte[] data = _seeds.Bytes(512);
        await disk.Device.WriteAsync(0, data);
        using RawClient client = disk.Go(mode);

        Assert.Equal(NbdError.NotSupported, client.Call(Zero, 0, 512, (int)CommandFlags.FastZero).Error);
        Assert.Equal(NbdError.NotSupported, client.Call(Zero, 0, 512, (int)(CommandFlags.FastZero | CommandFlags.NoHole)).Error);

        Assert.Equal(data, client.ReadDisk(0, 512));
    }

    [Fact]
    public async Task A_cache_reads_the_range_and_sends_nothing()
    {
        RecordingNode node = new(new MemoryNode(1024 * 1024));
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go(HeaderMode.Structured);

        Answer answer = client.Call(Cache, 100, 600_000);

        Assert.Equal((NbdError.None, 0), (answer.Error, answer.Chunks.Count));
        Assert.Equal(600_000, node.ReadBytes);
    }
}
