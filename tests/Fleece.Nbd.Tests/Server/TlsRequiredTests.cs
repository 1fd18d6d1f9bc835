// SPDX-License-Identifier: MIT
using Fleece.Nbd.Server.Negotiation;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Server;

/// <summary>A server with a certificate, and a client that does without.</summary>
public sealed class TlsRequiredTests
{
    [Theory]
    [InlineData(3u)]
    [InlineData(6u)]
    [InlineData(7u)]
    [InlineData(8u)]
    [InlineData(9u)]
    [InlineData(10u)]
    [InlineData(11u)]
    [InlineData(99u)]
    public void Every_option_is_answered_with_TLS_required(uint option)
    {
        ScriptStream script = new([.. new Packet().U32(3).ToArray(), .. Packet.Option(option), .. Packet.Option(2)]);

        Assert.Null(Handshake(script).Run());

        Assert.Equal(
            [OptionReply.ErrorTlsRequired, OptionReply.Ack],
            OptionReplies.Read(script.Sent.AsSpan(18)).Select(answer => answer.Type));
    }

    // An answer to this option would be taken for a size and flags.
    [Fact]
    public void An_export_name_drops_the_client_without_a_word()
    {
        ScriptStream script = new([.. new Packet().U32(3).ToArray(), .. Packet.Option(1, "vm"u8), .. Packet.Option(2)]);

        Assert.Null(Handshake(script).Run());

        Assert.Equal(18, script.Sent.Length);
    }

    private static ServerHandshake Handshake(ScriptStream script) => new(script, new NoExports(), stream => stream);
}
