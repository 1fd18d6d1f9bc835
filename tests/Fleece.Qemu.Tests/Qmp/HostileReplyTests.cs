// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Tests.Qmp;

/// <summary>Replies that are valid JSON and not what QEMU's reference says.</summary>
public sealed class HostileReplyTests
{
    private const string Node = """{"node-name":"n","drv":"raw","ro":false,"image":{"virtual-size":1},"dirty-bitmaps":[]}""";
    private const string Bitmap = """{"name":"b","granularity":65536,"count":0,"recording":true}""";

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("{}")]
    [InlineData("7")]
    [InlineData("""{"running":true}""")]
    [InlineData("""{"running":true,"status":7}""")]
    public Task AStatusThatSaysNothingIsRefused(string reply) =>
        RefusedAsync(reply, monitor => monitor.QueryStatusAsync(Cancelled).AsTask());

    [Theory]
    [InlineData("{}")]
    [InlineData("[7]")]
    [InlineData("[[]]")]
    [InlineData("""[{"qdev":"q"}]""")]
    public Task DevicesWithoutNamesAreRefused(string reply) =>
        RefusedAsync(reply, monitor => monitor.QueryDevicesAsync(Cancelled).AsTask());

    [Theory]
    [InlineData("\"n\"", "null")]
    [InlineData("\"image\":{\"virtual-size\":1}", "\"image\":1")]
    [InlineData("\"virtual-size\":1", "\"virtual-size\":-1")]
    [InlineData("\"virtual-size\":1", "\"virtual-size\":1.5")]
    [InlineData("\"virtual-size\":1", "\"virtual-size\":9223372036854775808")]
    [InlineData("\"virtual-size\":1", "\"virtual-size\":1,\"cluster-size\":2147483648")]
    [InlineData("\"virtual-size\":1", "\"virtual-size\":1,\"cluster-size\":0")]
    [InlineData("[]", "[7]")]
    [InlineData("[]", "[{\"name\":\"b\"}]")]
    public Task NodesOutOfBoundsAreRefused(string part, string hostile) => RefusedAsync(
        $"[{Node.Replace(part, hostile, StringComparison.Ordinal)}]", monitor => monitor.QueryNodesAsync(Cancelled).AsTask());

    [Theory]
    [InlineData("65536", "0")]
    [InlineData("65536", "-65536")]
    [InlineData("65536", "65537")]
    [InlineData("65536", "4294967296")]
    [InlineData("\"count\":0", "\"count\":-1")]
    public Task BitmapsOutOfBoundsAreRefused(string part, string hostile) => RefusedAsync(
        $"[{Node.Replace("[]", $"[{Bitmap.Replace(part, hostile, StringComparison.Ordinal)}]", StringComparison.Ordinal)}]",
        monitor => monitor.QueryNodesAsync(Cancelled).AsTask());

    [Fact]
    public async Task MembersOfOtherTypesCountAsAbsentWhereTheyMayBe()
    {
        string reply = Node
            .Replace("1}", "1,\"format-specific\":7},\"file\":null", StringComparison.Ordinal)
            .Replace("[]", "7", StringComparison.Ordinal);
        QemuMonitor monitor = new(new Channel($"[{reply}]"));

        QemuNodeReply node = Assert.Single(await monitor.QueryNodesAsync(Cancelled));

        Assert.Equal(("n", null, null, 0), (node.Name, node.FilePath, node.Compat, node.Bitmaps.Count));
    }

    [Fact]
    public async Task BitmapsWithoutNamesAreOfJobsAndLeftOut()
    {
        QemuMonitor monitor = new(new Channel(
            $"[{Node.Replace("[]", $"[{{\"granularity\":65536,\"count\":0}},{Bitmap}]", StringComparison.Ordinal)}]"));

        Assert.Equal("b", Assert.Single(Assert.Single(await monitor.QueryNodesAsync(Cancelled)).Bitmaps).Name);
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("[]")]
    [InlineData("[7]")]
    [InlineData("""[{"meta-type":"command"}]""")]
    [InlineData("""[{"name":"a"},{"name":"a"}]""")]
    public async Task ASchemaThatIsNoneIsRefused(string reply) => Assert.Equal(
        QemuErrors.NotQmp,
        (await Assert.ThrowsAsync<BlockException>(() => QmpSchema.QueryAsync(new Channel(reply), Cancelled).AsTask())).Kind);

    [Theory]
    [InlineData("""[{"name":"c","meta-type":"command"}]""")]
    [InlineData("""[{"name":"c","meta-type":"command","arg-type":7}]""")]
    [InlineData("""[{"name":"c","meta-type":"command","arg-type":"c"}]""")]
    [InlineData("""[{"name":"c","meta-type":"command","arg-type":"x"}]""")]
    [InlineData("""[{"name":"c","meta-type":"command","arg-type":"x"},{"name":"x","members":7,"variants":{}}]""")]
    [InlineData("""[{"name":"c","meta-type":"command","arg-type":"x"},{"name":"x","members":[7],"variants":[{"case":"v","type":7}]}]""")]
    public async Task ASchemaWithHolesHasNoneOfWhatItLacks(string reply)
    {
        QmpSchema schema = await QmpSchema.QueryAsync(new Channel(reply), Cancelled);

        Assert.True(schema.HasCommand("c"));
        Assert.False(schema.HasMember("c", "m"));
        Assert.False(schema.HasBranchMember("c", "v", "m"));
        Assert.False(schema.HasDriver("raw"));
        Assert.False(schema.HasAction("a"));
    }

    private static async Task RefusedAsync(string reply, Func<QemuMonitor, Task> ask)
    {
        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => ask(new QemuMonitor(new Channel(reply))));
        Assert.Equal(QemuErrors.NotQmp, refused.Kind);
    }

    // Answers every command with one reply.
    private sealed class Channel(string reply) : IQmpChannel
    {
        public string SocketPath => "socket";

        public QemuVersion Version => default;

        public uint? PeerUserId => null;

        public ValueTask<JsonElement> ExecuteAsync(string command, JsonObject? arguments, CancellationToken cancellationToken) =>
            new(JsonElement.Parse(reply));

        public ValueTask<bool> WaitForEventAsync(
            string name, Func<JsonElement, bool> isWanted, TimeSpan timeout, CancellationToken cancellationToken) => new(false);
    }
}
