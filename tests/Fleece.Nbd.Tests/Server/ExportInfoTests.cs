// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block.Memory;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>INFO, GO and the oldest way in.</summary>
public sealed class ExportInfoTests
{
    private const uint ExportName = 1;
    private const uint Info = 6;
    private const uint Go = 7;

    private const TransmissionFlags Always = TransmissionFlags.HasFlags | TransmissionFlags.SendFlush |
        TransmissionFlags.SendCache | TransmissionFlags.CanMultiConn;

    private const TransmissionFlags Writable = TransmissionFlags.SendTrim | TransmissionFlags.SendFua |
        TransmissionFlags.SendWriteZeroes | TransmissionFlags.SendFastZero;

    [Fact]
    public async Task Info_tells_size_and_block_sizes_and_leaves_the_handshake_open()
    {
        await using ServedDisk disk = new(12345);
        using RawClient client = disk.Connect().Greet();

        List<OptionAnswer> answers = client.Ask(Packet.Option(Info, Packet.Wish("vm")));

        Assert.Equal([OptionReply.Info, OptionReply.Info, OptionReply.Ack], answers.Select(answer => answer.Type));
        Assert.Equal(12345u, BinaryPrimitives.ReadUInt64BigEndian(answers[0].Data.AsSpan(2)));
        Assert.Equal(12, answers[0].Data.Length);
        Assert.Equal(new Packet().U16(3).U32(1).U32(4096).U32(32 * 1024 * 1024).ToArray(), answers[1].Data);
        Assert.Equal(OptionReply.Ack, client.AskOne(8));
    }

    [Fact]
    public async Task Info_tells_name_and_description_to_whoever_asks_for_them()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        List<OptionAnswer> answers = client.Ask(Packet.Option(Info, Packet.Wish(string.Empty, 1, 2, 3, 77)));

        Assert.Equal((ushort[])[0, 1, 2, 3], answers[..^1].Select(answer => BinaryPrimitives.ReadUInt16BigEndian(answer.Data)).Order());
        Assert.Contains(answers, answer => answer.Text == "\0\u0001vm");
        Assert.Contains(answers, answer => answer.Text == "\0\u0002a disk of a test");
    }

    [Theory]
    [InlineData(HeaderMode.Simple, ExportAccess.Read, (int)TransmissionFlags.ReadOnly)]
    [InlineData(HeaderMode.Structured, ExportAccess.Read, (int)(TransmissionFlags.ReadOnly | TransmissionFlags.SendDf))]
    [InlineData(HeaderMode.Simple, ExportAccess.Consume, (int)TransmissionFlags.SendTrim)]
    [InlineData(HeaderMode.Structured, ExportAccess.Write, (int)(Writable | TransmissionFlags.SendDf))]
    [InlineData(HeaderMode.Extended, ExportAccess.Write, (int)(Writable | TransmissionFlags.SendDf | TransmissionFlags.BlockStatusPayload))]
    public async Task The_flags_follow_from_access_and_mode(HeaderMode mode, ExportAccess access, int flags)
    {
        await using ServedDisk disk = new(new MemoryNode(4096), access);
        using RawClient client = disk.Go(mode);

        Assert.Equal(Always | (TransmissionFlags)flags, client.Flags);
    }

    public static TheoryData<byte[]> BrokenWishes { get; } = new(
        [],
        [0, 0, 0],
        new Packet().Text("vm").ToArray(),
        new Packet().Text("vm").U16(1).ToArray(),
        new Packet().Text("vm").U16(0).U16(3).ToArray(),
        new Packet().Text("vm").U16(1).U16(3).Raw([0]).ToArray(),
        new Packet().U32(uint.MaxValue).Raw("vm"u8).U16(0).ToArray(),
        new Packet().U32(3).Raw("vm"u8).ToArray(),
        new Packet().Text("v\0m").U16(0).ToArray(),
        new Packet().Text(new string('x', 4097)).U16(0).ToArray(),
        new Packet().U32(2).Raw([0xff, 0xfe]).U16(0).ToArray());

    [Theory]
    [MemberData(nameof(BrokenWishes))]
    public async Task A_wish_whose_lengths_or_name_are_wrong_is_invalid_and_the_next_is_answered(byte[] data)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.ErrorInvalid, client.AskOne(Info, data));
        Assert.Equal(OptionReply.ErrorInvalid, client.AskOne(Go, data));

        client.Go(HeaderMode.Simple, "vm");
    }

    [Theory]
    [InlineData("other")]
    [InlineData("VM")]
    public async Task An_export_that_is_not_there_is_unknown_and_the_next_option_is_answered(string name)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.ErrorUnknown, client.AskOne(Info, Packet.Wish(name)));
        Assert.Equal(OptionReply.ErrorUnknown, client.AskOne(Go, Packet.Wish(name)));

        client.Go(HeaderMode.Simple, "vm");
    }

    // The client shows it on a terminal.
    [Fact]
    public async Task The_text_of_a_refusal_repeats_no_control_character_of_the_name()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        OptionAnswer answer = Assert.Single(client.Ask(Packet.Option(Go, Packet.Wish("a\u001b[2J\u202eb"))));

        Assert.Equal("There is no export named 'a\\u001b[2J\\u202eb'.", answer.Text);
    }

    // The text of an error is a string of the protocol too, with its limit of 4096 bytes.
    [Fact]
    public async Task The_longest_name_there_may_be_is_refused_with_a_text_that_is_not_too_long()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        OptionAnswer answer = Assert.Single(client.Ask(Packet.Option(Go, Packet.Wish(new string('\u20ac', 1365)))));

        Assert.Equal(OptionReply.ErrorUnknown, answer.Type);
        Assert.InRange(answer.Data.Length, 1, 4096);
        Assert.DoesNotContain('\ufffd', answer.Text);
    }

    [Fact]
    public async Task An_export_of_large_blocks_is_only_for_clients_that_ask_for_block_sizes()
    {
        await using ServedDisk disk = new(new AlignedNode(new MemoryNode(65536), 4096));
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.ErrorBlockSizeRequired, client.AskOne(Go, Packet.Wish("vm")));

        client.Go(HeaderMode.Simple, "vm");
        Assert.Equal(NbdError.Invalid, client.Call((int)NbdCommand.Read, 512, 4096).Error);
    }

    [Fact]
    public async Task An_export_of_large_blocks_drops_clients_that_come_the_oldest_way()
    {
        await using ServedDisk disk = new(new AlignedNode(new MemoryNode(65536), 4096));
        using RawClient client = disk.Connect().Greet();

        client.Send(Packet.Option(ExportName, "vm"u8));

        client.AssertClosed();
    }

    [Theory]
    [InlineData(3u, 0)]
    [InlineData(1u, 124)]
    public async Task The_oldest_way_in_ends_with_zeroes_unless_the_client_wants_none(uint clientFlags, int zeroBytes)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet(clientFlags);

        client.Send(Packet.Option(ExportName, "vm"u8));

        byte[] reply = client.Read(10 + zeroBytes);
        Assert.Equal(1024u * 1024, BinaryPrimitives.ReadUInt64BigEndian(reply));
        Assert.Equal((ushort)(Always | Writable), BinaryPrimitives.ReadUInt16BigEndian(reply.AsSpan(8)));
        Assert.Equal(new byte[zeroBytes], reply[10..]);
        Assert.Equal(new byte[100], client.ReadDisk(0, 100));
    }

    [Fact]
    public async Task The_oldest_way_in_keeps_structured_replies_and_contexts()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();
        client.AskOne(8);
        client.Ask(Packet.Option(10, Packet.Contexts("vm", "base:allocation")));

        client.Send(Packet.Option(ExportName, "vm"u8));

        client.Mode = HeaderMode.Structured;
        client.Read(10);
        Assert.Equal([(4096u, 3u)], client.Call((int)NbdCommand.BlockStatus, 0, 4096).Extents(1));
    }

    [Theory]
    [InlineData("other")]
    [InlineData("v\0m")]
    public async Task An_unknown_name_drops_the_client_that_comes_the_oldest_way(string name)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        client.Send(Packet.Option(ExportName, System.Text.Encoding.UTF8.GetBytes(name)));

        client.AssertClosed();
    }
}
