// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Nbd.Server;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>The options of a handshake that are about no export, and the rules for all of them.</summary>
public sealed class OptionTests
{
    private const uint ExportName = 1;
    private const uint Abort = 2;
    private const uint List = 3;
    private const uint StartTls = 5;
    private const uint StructuredReply = 8;
    private const uint ExtendedHeaders = 11;

    [Theory]
    [InlineData(4u)]
    [InlineData(0x80000000u)]
    public async Task A_client_with_unknown_flags_is_dropped(uint flags)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet(flags | 1);

        client.AssertClosed();
    }

    [Fact]
    public async Task A_client_without_any_flag_is_served()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet(0);

        Assert.Equal(OptionReply.Ack, client.AskOne(StructuredReply));
    }

    [Fact]
    public async Task An_option_with_the_wrong_magic_drops_the_client()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        client.Send(new Packet().U64(0x49484156454F5055).U32(List).U32(0).ToArray());

        client.AssertClosed();
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(4u)]
    [InlineData(12u)]
    [InlineData(uint.MaxValue)]
    public async Task An_unknown_option_is_unsupported_and_the_next_is_answered(uint option)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.ErrorUnsupported, client.AskOne(option, [1, 2, 3]));

        Assert.Equal(OptionReply.Ack, client.AskOne(StructuredReply));
    }

    [Theory]
    [InlineData(List)]
    [InlineData(StartTls)]
    [InlineData(StructuredReply)]
    [InlineData(ExtendedHeaders)]
    public async Task Data_on_an_option_that_has_none_is_invalid_and_the_next_is_answered(uint option)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.ErrorInvalid, client.AskOne(option, [0]));

        Assert.Equal(OptionReply.Ack, client.AskOne(StructuredReply));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(9)]
    public async Task Abort_is_acknowledged_with_or_without_data_and_ends_the_connection(int dataBytes)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.Ack, client.AskOne(Abort, new byte[dataBytes]));

        client.AssertClosed();
    }

    [Fact]
    public async Task A_list_names_the_exports_with_their_descriptions()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        List<OptionAnswer> answers = client.Ask(Packet.Option(List));

        Assert.Equal([OptionReply.Server, OptionReply.Ack], answers.Select(answer => answer.Type));
        Assert.Equal(2u, BinaryPrimitives.ReadUInt32BigEndian(answers[0].Data));
        Assert.Equal("vma disk of a test", Encoding.UTF8.GetString(answers[0].Data.AsSpan(4)));
    }

    [Fact]
    public async Task A_list_without_exports_is_acknowledged()
    {
        await using ServedDisk disk = new() { Export = null };
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.Ack, client.AskOne(List));
    }

    [Fact]
    public async Task Structured_replies_are_chosen_once()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.Ack, client.AskOne(StructuredReply));
        Assert.Equal(OptionReply.ErrorInvalid, client.AskOne(StructuredReply));
    }

    [Fact]
    public async Task Extended_headers_are_chosen_once()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.Ack, client.AskOne(ExtendedHeaders));
        Assert.Equal(OptionReply.ErrorInvalid, client.AskOne(ExtendedHeaders));
    }

    [Fact]
    public async Task Extended_headers_can_follow_structured_replies_and_not_the_other_way_round()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.Ack, client.AskOne(StructuredReply));
        Assert.Equal(OptionReply.Ack, client.AskOne(ExtendedHeaders));
        Assert.Equal(OptionReply.ErrorExtendedHeadersRequired, client.AskOne(StructuredReply));
    }

    [Fact]
    public async Task An_option_beyond_128_KiB_is_too_big_and_the_next_is_answered()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.ErrorTooBig, client.AskOne(7, new byte[128 * 1024 + 1]));

        Assert.Equal(OptionReply.Ack, client.AskOne(StructuredReply));
    }

    [Fact]
    public async Task An_option_of_128_KiB_is_looked_into()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.ErrorInvalid, client.AskOne(7, new byte[128 * 1024]));
    }

    [Fact]
    public async Task An_option_beyond_32_MiB_drops_the_client()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        client.Send(Packet.Option(7, 32 * 1024 * 1024 + 1, []));

        client.AssertClosed();
    }

    // An answer to this option would be taken for a size and flags.
    [Fact]
    public async Task An_export_name_that_is_too_big_drops_the_client_without_a_word()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        client.Send(Packet.Option(ExportName, 128 * 1024 + 1, []));

        client.AssertClosed();
    }

    [Fact]
    public async Task A_client_of_endless_options_is_dropped()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();
        for (int i = 0; i < NbdLimits.MaximumOptions; i++)
        {
            Assert.Equal(OptionReply.ErrorUnsupported, client.AskOne(99));
        }

        client.AssertClosed();
    }

    [Fact]
    public async Task A_client_that_does_not_finish_its_handshake_in_time_is_dropped()
    {
        ManualTime time = new();
        NbdServerOptions options = new() { Time = time };
        await using ServedDisk disk = new(options: options);
        using RawClient client = disk.Connect().Greet();
        time.Advance(options.HandshakeTimeout - TimeSpan.FromTicks(1));
        Assert.Equal(OptionReply.Ack, client.AskOne(StructuredReply));

        time.Advance(TimeSpan.FromTicks(1));

        client.AssertClosed();
    }

    [Fact]
    public async Task The_time_of_the_handshake_does_not_bound_transmission()
    {
        ManualTime time = new();
        NbdServerOptions options = new() { Time = time };
        await using ServedDisk disk = new(options: options);
        using RawClient served = disk.Go();
        served.ReadDisk(0, 512);
        using RawClient late = disk.Connect().Greet();

        time.Advance(options.HandshakeTimeout);

        late.AssertClosed();
        Assert.Equal(new byte[512], served.ReadDisk(0, 512));
    }

    [Fact]
    public async Task Tls_is_refused_where_there_is_no_certificate()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.ErrorPolicy, client.AskOne(StartTls));
    }
}
