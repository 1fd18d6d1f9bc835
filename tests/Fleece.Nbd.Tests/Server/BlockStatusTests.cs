// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Block status in both of its forms.</summary>
public sealed class BlockStatusTests
{
    private const string Allocation = "base:allocation";
    private const int Status = (int)NbdCommand.BlockStatus;
    private const int Page = 65536;
    private const ulong Data = 0;
    private const ulong Hole = 3;

    [Theory]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task Runs_of_one_kind_are_one_extent(HeaderMode mode)
    {
        await using ServedDisk disk = await PatternAsync();
        using RawClient client = disk.Go(mode, Allocation);

        Answer answer = client.Call(Status, Page / 2, 5 * Page);

        Assert.Equal(1, Assert.Single(answer.Chunks).Flags);
        Assert.Equal(
            [(Page / 2, Data), (Page, Hole), (2 * Page, Data), (Page, Hole), (Page / 2, Data)],
            answer.Extents(client.ContextIds[Allocation]).Select(extent => ((int)extent.LengthBytes, extent.Flags)));
    }

    [Theory]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task One_extent_is_sent_to_whoever_wants_one_and_it_stays_within_the_range(HeaderMode mode)
    {
        await using ServedDisk disk = await PatternAsync();
        using RawClient client = disk.Go(mode, Allocation);
        uint id = client.ContextIds[Allocation];

        Assert.Equal([(Page, Data)], client.Call(Status, 0, 6 * Page, (int)CommandFlags.RequestOne).Extents(id));
        Assert.Equal([(100, Data)], client.Call(Status, 0, 100, (int)CommandFlags.RequestOne).Extents(id));
    }

    [Theory]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task Without_a_context_or_a_length_it_is_invalid(HeaderMode mode)
    {
        await using ServedDisk disk = new();
        using RawClient without = disk.Go(mode);
        using RawClient with = disk.Go(mode, Allocation);

        Assert.Equal(NbdError.Invalid, without.Call(Status, 0, 4096).Error);
        Assert.Equal(NbdError.Invalid, with.Call(Status, 0, 0).Error);
    }

    [Theory]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task Each_context_has_a_chunk_of_its_own_and_the_last_one_ends_the_reply(HeaderMode mode)
    {
        await using ServedDisk disk = await PatternAsync();
        disk.Export = disk.Export! with { Contexts = [new AllocationContext(disk.Device), new Alternating("x:sectors")] };
        using RawClient client = disk.Go(mode, Allocation, "x:sectors");

        Answer answer = client.Call(Status, 0, Page);

        Assert.Equal([0, 1], answer.Chunks.Select(chunk => (int)chunk.Flags));
        Assert.Equal([(Page, Data)], answer.Extents(client.ContextIds[Allocation]));
        Assert.Equal(Page / 512, answer.Extents(client.ContextIds["x:sectors"]).Count);
    }

    // The bound on extents cuts the answer; the client asks again from where it ends.
    [Theory]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task A_map_of_many_extents_comes_in_parts_that_fit_together(HeaderMode mode)
    {
        const ulong Size = 40_000 * 512;
        await using ServedDisk disk = new((long)Size);
        disk.Export = disk.Export! with { Contexts = [new Alternating("x:sectors")] };
        using RawClient client = disk.Go(mode, "x:sectors");
        uint id = client.ContextIds["x:sectors"];
        int count = 0;
        int requests = 0;
        for (ulong at = 0; at < Size; requests++)
        {
            IReadOnlyList<(ulong LengthBytes, ulong Flags)> extents = client.Call(Status, at, Size - at).Extents(id);
            Assert.All(extents, extent => Assert.Equal((512u, at / 512 % 2), (extent.LengthBytes, Next(ref at, extent))));
            count += extents.Count;
        }

        Assert.Equal((40_000, 10), (count, requests));

        static ulong Next(ref ulong at, (ulong LengthBytes, ulong Flags) extent)
        {
            at += extent.LengthBytes;
            return extent.Flags;
        }
    }

    [Fact]
    public async Task A_compact_extent_is_cut_to_whole_sectors_below_4_GiB()
    {
        await using ServedDisk disk = new(1L << 40);
        using RawClient client = disk.Go(HeaderMode.Structured, Allocation);

        Answer answer = client.Call(Status, 0, uint.MaxValue);

        Assert.Equal([(0xFFFF_FE00, Hole)], answer.Extents(client.ContextIds[Allocation]));
    }

    [Fact]
    public async Task An_extended_extent_has_64_bits()
    {
        await using ServedDisk disk = new(1L << 45);
        using RawClient client = disk.Go(HeaderMode.Extended, Allocation);

        Answer answer = client.Call(Status, 4096, (1UL << 45) - 4096);

        Assert.Equal([((1UL << 45) - 4096, Hole)], answer.Extents(client.ContextIds[Allocation]));
    }

    [Theory]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task A_failure_behind_the_first_extent_is_told_when_it_is_asked_for(HeaderMode mode)
    {
        FaultNode node = new(new MemoryNode(6 * Page));
        node.FailWhen(operation => operation.Kind == BlockOperationKind.Status && operation.OffsetBytes >= Page);
        await using ServedDisk disk = await PatternAsync(node);
        using RawClient client = disk.Go(mode, Allocation);

        Assert.Equal([(Page, Data)], client.Call(Status, 0, 3 * Page).Extents(client.ContextIds[Allocation]));
        Assert.Equal(NbdError.Io, client.Call(Status, Page, Page).Error);
    }

    [Fact]
    public async Task A_payload_chooses_among_the_contexts()
    {
        await using ServedDisk disk = await PatternAsync();
        disk.Export = disk.Export! with { Contexts = [new AllocationContext(disk.Device), new Alternating("x:sectors")] };
        using RawClient client = disk.Go(HeaderMode.Extended, Allocation, "x:sectors");

        Answer one = CallWithPayload(client, 0, new Packet().U64(Page).U32(client.ContextIds["x:sectors"]));
        Answer none = CallWithPayload(client, 0, new Packet().U64(Page));

        Assert.Equal(Page / 512, one.Extents(client.ContextIds["x:sectors"]).Count);
        Assert.Single(one.Chunks);
        Assert.Equal(ChunkType.None, Assert.Single(none.Chunks).Type);
    }

    [Fact]
    public async Task A_payload_that_is_wrong_is_invalid_and_the_connection_lives_on()
    {
        await using ServedDisk disk = await PatternAsync();
        using RawClient client = disk.Go(HeaderMode.Extended, Allocation);
        uint id = client.ContextIds[Allocation];
        foreach ((ulong offset, Packet payload) in (IEnumerable<(ulong, Packet)>)
            [
                (0, new Packet()),
                (0, new Packet().U32(1)),
                (0, new Packet().U64(Page).U16(1)),
                (0, new Packet().U64(Page).U32(id + 1)),
                (0, new Packet().U64(0).U32(id)),
                (0, new Packet().U64(6 * Page + 1).U32(id)),
                (0, new Packet().U64(ulong.MaxValue).U32(id)),
                (ulong.MaxValue, new Packet().U64(Page).U32(id)),
                (0, new Packet().U64(Page).Raw(new byte[8192])),
            ])
        {
            Assert.Equal(NbdError.Invalid, CallWithPayload(client, offset, payload).Error);
        }

        Assert.Equal([(Page, Data)], CallWithPayload(client, 0, new Packet().U64(Page).U32(id).U32(id)).Extents(id));
    }

    private static Answer CallWithPayload(RawClient client, ulong offset, Packet payload)
    {
        byte[] bytes = payload.ToArray();
        return client.Call(Status, offset, (ulong)bytes.Length, (int)CommandFlags.PayloadLength, bytes);
    }

    // Pages 0, 2, 3 and 5 of six hold data.
    private static async Task<ServedDisk> PatternAsync(IBlockNode? node = null)
    {
        ServedDisk disk = new(node ?? new MemoryNode(6 * Page));
        foreach (int page in (int[])[0, 2, 3, 5])
        {
            await disk.Device.WriteAsync(page * Page, new byte[] { 1 });
        }

        return disk;
    }

    /// <summary>Every other sector has the flag 1.</summary>
    private sealed class Alternating(string name) : IStatusContext
    {
        public string Name => name;

        public ValueTask<StatusExtent> GetExtentAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
            new(new StatusExtent(Math.Min(lengthBytes, 512 - offsetBytes % 512), (uint)(offsetBytes / 512 % 2)));
    }
}
