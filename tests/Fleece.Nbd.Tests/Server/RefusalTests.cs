// SPDX-License-Identifier: MIT
using Fleece.Block.Memory;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Requests that are wrong, what they are told, and that the connection lives on where it can.</summary>
public sealed class RefusalTests
{
    private const int Read = (int)NbdCommand.Read;
    private const int Write = (int)NbdCommand.Write;
    private const int Flush = (int)NbdCommand.Flush;
    private const int Trim = (int)NbdCommand.Trim;
    private const int Cache = (int)NbdCommand.Cache;
    private const int Zero = (int)NbdCommand.WriteZeroes;
    private const int Status = (int)NbdCommand.BlockStatus;
    private const int Size = 1024 * 1024;
    private const int MiB = 1024 * 1024;

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task Beyond_the_end_there_is_no_space_for_changes_and_everything_else_is_invalid(HeaderMode mode)
    {
        await using ServedDisk disk = new(Size);
        using RawClient client = disk.Go(mode, mode == HeaderMode.Simple ? [] : ["base:allocation"]);
        foreach ((ulong offset, ulong length) in (IEnumerable<(ulong, ulong)>)
            [(Size, 1), (Size - 1, 2), (Size + 1, 0), (ulong.MaxValue, 1), (1UL << 63, 4096), (ulong.MaxValue - 1, 4096)])
        {
            Assert.Equal(NbdError.Invalid, client.Call(Read, offset, length).Error);
            Assert.Equal(NbdError.NoSpace, client.Write(offset, new byte[length]).Error);
            Assert.Equal(NbdError.NoSpace, client.Call(Zero, offset, length).Error);
            Assert.Equal(NbdError.Invalid, client.Call(Trim, offset, length).Error);
            Assert.Equal(NbdError.Invalid, client.Call(Cache, offset, length).Error);
            Assert.Equal(NbdError.Invalid, client.Call(Status, offset, length).Error);
        }

        Assert.Equal(new byte[512], client.ReadDisk(0, 512));
    }

    [Fact]
    public async Task Reading_ahead_has_a_bound_of_its_own()
    {
        await using ServedDisk disk = new(33 * MiB);
        using RawClient client = disk.Go(HeaderMode.Structured);

        Answer refused = client.Call(Cache, 0, 32 * MiB + 1);

        Assert.Equal((NbdError.Invalid, "At most 33554432 bytes are read ahead at a time."), (refused.Error, refused.Text));
        Assert.Equal(NbdError.None, client.Call(Cache, 0, 32 * MiB).Error);
    }

    [Fact]
    public async Task Lengths_of_64_bits_are_checked_against_the_end()
    {
        await using ServedDisk disk = new(Size);
        using RawClient client = disk.Go(HeaderMode.Extended, "base:allocation");
        foreach (ulong length in (ulong[])[Size + 1, 1UL << 32, 1UL << 63, ulong.MaxValue])
        {
            Assert.Equal(NbdError.Overflow, client.Call(Read, 0, Math.Max(length, 33 * MiB)).Error);
            Assert.Equal(NbdError.NoSpace, client.Call(Zero, 0, length).Error);
            Assert.Equal(NbdError.Invalid, client.Call(Trim, 0, length).Error);
            Assert.Equal(NbdError.Invalid, client.Call(Cache, 0, length).Error);
            Assert.Equal(NbdError.Invalid, client.Call(Status, 0, length).Error);
        }
    }

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task A_read_only_export_permits_no_change_and_stays_as_it_was(HeaderMode mode)
    {
        RecordingNode node = new(new MemoryNode(Size));
        await using ServedDisk disk = new(node, ExportAccess.Read);
        using RawClient client = disk.Go(mode);

        Assert.Equal(NbdError.NotPermitted, client.Write(0, new byte[100_000]).Error);
        Assert.Equal(NbdError.NotPermitted, client.Call(Zero, 0, 512).Error);
        Assert.Equal(NbdError.NotPermitted, client.Call(Trim, 0, 512).Error);

        Assert.Equal(NbdError.None, client.Call(Flush, 0, 0).Error);
        Assert.DoesNotContain(node.Operations, operation => operation.IsChange);
    }

    [Theory]
    [InlineData(Read, (int)CommandFlags.Fua)]
    [InlineData(Read, (int)CommandFlags.DontFragment)]
    [InlineData(Write, (int)CommandFlags.FastZero)]
    [InlineData(Write, (int)CommandFlags.NoHole)]
    [InlineData(Write, (int)CommandFlags.PayloadLength)]
    [InlineData(Flush, (int)CommandFlags.Fua)]
    [InlineData(Trim, (int)CommandFlags.NoHole)]
    [InlineData(Cache, (int)CommandFlags.Fua)]
    [InlineData(Zero, (int)CommandFlags.RequestOne)]
    [InlineData(Zero, (int)CommandFlags.DontFragment)]
    [InlineData(Status, (int)CommandFlags.Fua)]
    [InlineData(Read, 0x8000)]
    [InlineData(Write, 0x40)]
    public async Task A_flag_on_the_wrong_command_is_invalid(int command, int flags)
    {
        await using ServedDisk disk = new(Size);
        using RawClient client = disk.Go();
        byte[] payload = command == Write ? new byte[512] : [];

        Assert.Equal(NbdError.Invalid, client.Call(command, 0, command == Flush ? 0u : 512, flags, payload).Error);

        Assert.Equal(new byte[512], client.ReadDisk(0, 512));
    }

    // With extended headers the flag says that a payload follows, whatever the command.
    [Theory]
    [InlineData(Read)]
    [InlineData(Flush)]
    [InlineData(Trim)]
    [InlineData(Cache)]
    [InlineData(Zero)]
    [InlineData(99)]
    public async Task A_payload_where_there_is_none_is_skipped_and_invalid(int command)
    {
        await using ServedDisk disk = new(Size);
        using RawClient client = disk.Go(HeaderMode.Extended);

        Answer answer = client.Call(command, 0, 70_000, (int)CommandFlags.PayloadLength, new byte[70_000]);

        Assert.Equal(NbdError.Invalid, answer.Error);
        Assert.Equal(new byte[512], client.ReadDisk(0, 512));
    }

    [Theory]
    [InlineData(HeaderMode.Simple, 8)]
    [InlineData(HeaderMode.Structured, 9)]
    [InlineData(HeaderMode.Extended, 0xFFFF)]
    public async Task An_unknown_command_is_invalid(HeaderMode mode, int command)
    {
        await using ServedDisk disk = new(Size);
        using RawClient client = disk.Go(mode);

        Assert.Equal(NbdError.Invalid, client.Call(command, 0, 512).Error);

        Assert.Equal(new byte[512], client.ReadDisk(0, 512));
    }

    [Theory]
    [InlineData(1u, 0u)]
    [InlineData(0u, 1u)]
    [InlineData(4096u, 4096u)]
    public async Task A_flush_of_a_range_is_invalid(uint offset, uint length)
    {
        await using ServedDisk disk = new(Size);
        using RawClient client = disk.Go();

        Assert.Equal(NbdError.Invalid, client.Call(Flush, offset, length).Error);
    }

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Extended)]
    public async Task A_read_beyond_32_MiB_overflows(HeaderMode mode)
    {
        await using ServedDisk disk = new(64 * MiB);
        using RawClient client = disk.Go(mode);

        Assert.Equal(NbdError.Overflow, client.Call(Read, 0, 32 * MiB + 1).Error);

        Assert.Equal(new byte[512], client.ReadDisk(0, 512));
    }

    [Theory]
    [InlineData(HeaderMode.Simple, 32 * MiB + 1)]
    [InlineData(HeaderMode.Extended, 128 * MiB)]
    public async Task A_write_beyond_32_MiB_is_read_past_and_invalid(HeaderMode mode, int lengthBytes)
    {
        RecordingNode node = new(new MemoryNode(256 * MiB));
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go(mode);

        Assert.Equal(NbdError.Invalid, client.Write(0, new byte[lengthBytes]).Error);

        Assert.Equal(new byte[512], client.ReadDisk(0, 512));
        Assert.Equal(0, node.Count(BlockOperationKind.Write));
    }

    [Theory]
    [InlineData(HeaderMode.Simple, Write, 128u * MiB + 1)]
    [InlineData(HeaderMode.Extended, Write, ulong.MaxValue)]
    [InlineData(HeaderMode.Extended, Write, 1UL << 63)]
    [InlineData(HeaderMode.Extended, Read, 128UL * MiB + 1)]
    public async Task A_payload_beyond_128_MiB_drops_the_client(HeaderMode mode, int command, ulong length)
    {
        await using ServedDisk disk = new(Size);
        using RawClient client = disk.Go(mode);

        client.Begin(command, 0, length, mode == HeaderMode.Extended ? (int)CommandFlags.PayloadLength : 0);

        client.AssertClosed();
    }

    [Theory]
    [InlineData(HeaderMode.Simple, HeaderMode.Extended)]
    [InlineData(HeaderMode.Structured, HeaderMode.Extended)]
    [InlineData(HeaderMode.Extended, HeaderMode.Simple)]
    public async Task A_request_of_the_other_form_drops_the_client(HeaderMode mode, HeaderMode other)
    {
        await using ServedDisk disk = new(Size);
        using RawClient client = disk.Go(mode);

        client.Send([.. Packet.Request(other, Read, 1, 0, 512), .. new byte[32]]);

        client.AssertClosed();
    }

    [Fact]
    public async Task A_wrong_magic_drops_the_client_after_what_was_asked_before()
    {
        await using ServedDisk disk = new(Size);
        using RawClient client = disk.Go();

        client.Send([.. Packet.Request(HeaderMode.Simple, Flush, 77, 0, 0), .. new byte[28]]);

        Assert.Equal(77u, client.ReadAnswer().Cookie);
        client.AssertClosed();
    }

    [Theory]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task A_refusal_says_why_where_the_form_has_room(HeaderMode mode)
    {
        await using ServedDisk disk = new(Size);
        using RawClient client = disk.Go(mode);

        Answer answer = client.Call(Trim, Size, 4096);

        Chunk only = Assert.Single(answer.Chunks);
        Assert.Equal((1, ChunkType.Error), (only.Flags, only.Type));
        Assert.Equal($"The range of 4096 bytes at {Size} reaches beyond the end at {Size}.", answer.Text);
    }
}
