// SPDX-License-Identifier: MIT
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Server.Negotiation;
using Fleece.Nbd.Tests.Server;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Golden;

/// <summary>What real programs have said to each other, as our parsers read it and our server answers it; see README.md.</summary>
public sealed class RecordingTests
{
    public static TheoryData<string, string, string> Clients { get; } = new()
    {
        { "nbdinfo-qemu-nbd", "StructuredReply Info ListMetaContext Go", "Read Disconnect" },
        { "nbdinfo-list-qemu-nbd", "StructuredReply List Info ListMetaContext Abort", string.Empty },
        { "nbdinfo-map-qemu-nbd", "StructuredReply SetMetaContext Go", "BlockStatus Disconnect" },
        { "nbdcopy-qemu-nbd", "StructuredReply SetMetaContext Go", "BlockStatus Read Disconnect" },
        {
            "qemu-img-qemu-nbd",
            "StructuredReply SetMetaContext Go",
            "BlockStatus BlockStatus BlockStatus BlockStatus Read BlockStatus Disconnect"
        },
        {
            "qemu-io-qemu-nbd",
            "StructuredReply SetMetaContext Go",
            "Write Read Write WriteZeroes WriteZeroes Trim Flush BlockStatus BlockStatus BlockStatus Flush Disconnect"
        },
        { "qemu-io-nbdkit", "StructuredReply SetMetaContext Go", "Write Read WriteZeroes Flush Flush Disconnect" },
    };

    [Theory]
    [MemberData(nameof(Clients))]
    public void The_parsers_read_what_clients_sent(string name, string options, string commands)
    {
        (List<(NbdOption Option, byte[] Data)> sent, List<RequestHeader> requests) = new Recording(name).ReadClient();

        Assert.Equal(options, string.Join(' ', sent.Select(option => option.Option)));
        Assert.Equal(commands, string.Join(' ', requests.Select(request => request.Command)));
    }

    [Theory]
    [MemberData(nameof(Clients))]
    public void The_parsers_read_what_servers_answered(string name, string options, string commands)
    {
        Recording recording = new(name);
        List<RequestHeader> requests = recording.ReadClient().Requests;
        (List<OptionReplyHeader> replies, List<(ulong Cookie, string Form)> answers) = recording.ReadServer();

        Assert.Equal(
            options, string.Join(' ', replies.Where(reply => reply.Type == OptionReply.Ack).Select(reply => reply.Option)));
        Assert.All(answers, answer => Assert.Contains(requests, request => request.Cookie == answer.Cookie));
        Assert.Equal(
            commands.Split(' ', StringSplitOptions.RemoveEmptyEntries).Count(command => command != "Disconnect"),
            answers.Count(answer => answer.Form.Contains("simple", StringComparison.Ordinal) ||
                answer.Form.Contains("done", StringComparison.Ordinal)));
    }

    [Theory]
    [MemberData(nameof(Clients))]
    public async Task The_server_answers_recorded_clients_by_the_rules(string name, string options, string commands)
    {
        Recording recording = new(name);

        int answered = await ScriptedServer.RunAsync(recording.Client, Recording.Content(), ExportAccess.Write);

        Assert.NotEmpty(options);
        Assert.Equal(
            commands.Split(' ', StringSplitOptions.RemoveEmptyEntries).Count(command => command != "Disconnect"), answered);
    }

    [Theory]
    [InlineData("nbdinfo-map-qemu-nbd")]
    [InlineData("qemu-io-qemu-nbd")]
    public void The_contexts_that_clients_chose_are_understood(string name)
    {
        byte[] data = new Recording(name).ReadClient().Options.Single(option => option.Option == NbdOption.SetMetaContext).Data;

        Assert.True(MetaContextQuery.TryRead(data, out MetaContextQuery query));
        Assert.Equal("vm", query.ExportName);
        Assert.Contains("base:allocation", query.Queries);
    }

    [Fact]
    public void The_fields_of_recorded_requests_are_those_that_were_asked_for()
    {
        List<RequestHeader> requests = new Recording("qemu-io-qemu-nbd").ReadClient().Requests;

        Assert.Equal((CommandFlags.Fua, 4096u, 512u), (requests[0].Flags, requests[0].Offset, requests[0].Length));
        Assert.Equal(CommandFlags.Fua | CommandFlags.NoHole, requests[3].Flags);
        Assert.Equal((CommandFlags.Fua, 131072u, 65536u), (requests[4].Flags, requests[4].Offset, requests[4].Length));
        Assert.Equal((CommandFlags.None, 196608u, 65536u), (requests[5].Flags, requests[5].Offset, requests[5].Length));
        Assert.Equal(CommandFlags.RequestOne, requests[7].Flags);
    }
}
