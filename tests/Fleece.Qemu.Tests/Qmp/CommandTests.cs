// SPDX-License-Identifier: MIT
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Qmp;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Qmp;

/// <summary>Commands and events on a connection whose other end is slow, partial, hostile or dead.</summary>
public sealed class CommandTests
{
    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task OutOfBandIsEnabledWhereItIsOffered()
    {
        await using FakeMonitor monitor = new();
        Task<QmpConnection> connecting = monitor.ConnectAsync();
        await monitor.AcceptAsync();
        await monitor.SendAsync(FakeMonitor.GreetingWithOob);
        JsonElement command = await monitor.ReceiveAsync();
        await monitor.SendAsync(FakeMonitor.Answer(command.GetProperty("id").GetInt64()));
        await using QmpConnection connection = await connecting;

        Assert.Equal("""{"enable":["oob"]}""", command.GetProperty("arguments").GetRawText());
        Assert.True(connection.HasOutOfBand);
    }

    [Fact]
    public async Task AnAnswerInSingleBytesIsRead()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();
        Task<JsonElement> asking = AskAsync(connection);
        string answer = FakeMonitor.Answer(await monitor.ReceiveIdAsync("query"), """{"name":"}Gästebuch \"\\\ud83d\udc16{"}""");

        foreach (byte part in Encoding.UTF8.GetBytes(answer))
        {
            await monitor.SendAsync(new[] { part });
        }

        Assert.Equal("}Gästebuch \"\\🐖{", (await asking).GetProperty("name").GetString());
    }

    [Fact]
    public async Task OnlyTheAnswerWithTheCommandsIdCounts()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();
        Task<JsonElement> asking = AskAsync(connection);
        long id = await monitor.ReceiveIdAsync("query");

        await monitor.SendAsync(
            """{"return":0}{"error":{"class":"GenericError","desc":"d"}}{}""" + FakeMonitor.Answer(id - 1, "1") +
            """{"return":2,"id":"x"}{"return":3,"id":null} {"return":4,"id":{"a":1}}""" +
            FakeMonitor.Answer(id + 1, "5") + FakeMonitor.Answer(id, "6") + FakeMonitor.Answer(id, "7"));

        Assert.Equal(6, (await asking).GetInt32());
    }

    [Theory]
    [InlineData("query-block")]
    [InlineData("qom-get")]
    public async Task AQuestionIsNotWaitedForAsLongAsACommandThatMovesData(string command)
    {
        QmpOptions options = new() { CommandTimeout = TimeSpan.FromHours(1), QueryTimeout = TimeSpan.FromMilliseconds(50) };
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync(options: options);

        BlockException late = await Assert.ThrowsAsync<BlockException>(
            () => connection.ExecuteAsync(command, null, Cancelled).AsTask().WaitAsync(TimeSpan.FromMinutes(1), Cancelled));

        Assert.Equal(QemuErrors.MonitorBusy, late.Kind);
    }

    [Fact]
    public async Task ClientsUseDifferentIds()
    {
        await using FakeMonitor first = new();
        await using FakeMonitor second = new();
        await using QmpConnection one = await first.NegotiateAsync();
        await using QmpConnection other = await second.NegotiateAsync();
        Task<JsonElement> asking = AskAsync(one);
        Task<JsonElement> otherAsking = AskAsync(other);

        long id = await first.ReceiveIdAsync("query");
        long otherId = await second.ReceiveIdAsync("query");

        Assert.NotEqual(id, otherId);
        await first.SendAsync(FakeMonitor.Answer(id));
        await second.SendAsync(FakeMonitor.Answer(otherId));
        await Task.WhenAll(asking, otherAsking);
    }

    [Fact]
    public async Task ALongAnswerUpToTheLimitIsRead()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync(options: new QmpOptions { MaximumMessageBytes = 100_000 });
        Task<JsonElement> asking = AskAsync(connection);
        long id = await monitor.ReceiveIdAsync("query");
        string answer = FakeMonitor.Answer(id, "\"\"").Trim();

        await monitor.SendAsync(answer.Replace("\"\"", $"\"{new string('x', 100_000 - answer.Length)}\"", StringComparison.Ordinal));

        Assert.Equal(100_000 - answer.Length, (await asking).GetString()!.Length);
    }

    [Fact]
    public async Task AnAnswerBeyondTheLimitIsRefused()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync(options: new QmpOptions { MaximumMessageBytes = 100_000 });
        Task<JsonElement> asking = AskAsync(connection);
        long id = await monitor.ReceiveIdAsync("query");
        string answer = FakeMonitor.Answer(id, "\"\"").Trim();

        await monitor.SendAsync(answer.Replace("\"\"", $"\"{new string('x', 100_001 - answer.Length)}\"", StringComparison.Ordinal));

        Assert.Equal(QemuErrors.NotQmp, (await Assert.ThrowsAsync<BlockException>(() => asking)).Kind);
    }

    [Theory]
    [InlineData("""{"id":ID}""")]
    [InlineData("""{"id":ID,"error":"text"}""")]
    [InlineData("""{"id":ID,"error":{"class":"GenericError"}}""")]
    [InlineData("""{"id":ID,"return":"\ud800"}""")]
    [InlineData("""{"id":ID,"return":01}""")]
    [InlineData("garbage")]
    public async Task AnAnswerThatBreaksTheRulesEndsTheConnection(string answer)
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();
        Task<JsonElement> asking = AskAsync(connection);
        long id = await monitor.ReceiveIdAsync("query");

        await monitor.SendAsync(answer.Replace("ID", $"{id}", StringComparison.Ordinal));

        Assert.Equal(QemuErrors.NotQmp, (await Assert.ThrowsAsync<BlockException>(() => asking)).Kind);
        Assert.Equal(QemuErrors.NotQmp, (await Assert.ThrowsAsync<BlockException>(() => AskAsync(connection))).Kind);
    }

    [Fact]
    public async Task ARefusalLeavesTheConnectionUsable()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();
        Task<JsonElement> asking = AskAsync(connection);
        await monitor.SendAsync(
            $$$"""{"id":{{{await monitor.ReceiveIdAsync("query")}}},"error":{"class":"DeviceNotFound","desc":"No \u001b[2J."}}""");
        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => asking);

        Task<JsonElement> again = AskAsync(connection);
        await monitor.SendAsync(FakeMonitor.Answer(await monitor.ReceiveIdAsync("query"), "1"));

        Assert.Equal(1, (await again).GetInt32());
        Assert.Equal(QemuErrors.CommandRefused, refused.Kind);
        Assert.Equal("query", refused.Operation);
        Assert.Equal(QmpRefusal.DeviceNotFound, QmpRefusal.Of(refused)?.Class);
        Assert.Contains("No \\u001b[2J (DeviceNotFound).", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AnArgumentThatIsNoUnicodeIsRefusedBeforeItIsSent()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();

        BlockException refused = await Assert.ThrowsAsync<BlockException>(
            () => connection.ExecuteAsync("query", new JsonObject { ["path"] = "\ud800" }, Cancelled).AsTask());

        Task<JsonElement> asking = AskAsync(connection);
        await monitor.SendAsync(FakeMonitor.Answer(await monitor.ReceiveIdAsync("query"), "1"));
        Assert.Equal(BlockErrors.InvalidArgument, refused.Kind);
        Assert.Equal(1, (await asking).GetInt32());
    }

    [Theory]
    [InlineData("", "during 'query'.")]
    [InlineData("""{"event":"SHUTDOWN","data":{"guest":false,"reason":"host-signal"}}{"ret""", "(host-signal)")]
    public async Task AQemuThatEndsUnderACommandIsGone(string lastWords, string told)
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();
        Task<JsonElement> asking = AskAsync(connection);
        await monitor.ReceiveIdAsync("query");
        await monitor.SendAsync(lastWords);

        monitor.HangUp();

        BlockException gone = await Assert.ThrowsAsync<BlockException>(() => asking);
        Assert.Equal(QemuErrors.QemuGone, gone.Kind);
        Assert.Contains(told, gone.Message, StringComparison.Ordinal);
        Assert.Equal(QemuErrors.QemuGone, (await Assert.ThrowsAsync<BlockException>(() => AskAsync(connection))).Kind);
    }

    [Fact]
    public async Task AQemuThatEndedBeforeACommandIsGoneAndItsReasonIsTold()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();
        await monitor.SendAsync("""{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-shutdown"}}""");
        monitor.HangUp();

        BlockException gone = await Assert.ThrowsAsync<BlockException>(() => AskAsync(connection));

        Assert.Equal(QemuErrors.QemuGone, gone.Kind);
        Assert.Contains("guest-shutdown", gone.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ACancelledCommandMakesTheConnectionUnusable()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();
        using CancellationTokenSource cancel = new();
        Task<JsonElement> asking = connection.ExecuteAsync("query", null, cancel.Token).AsTask();
        long id = await monitor.ReceiveIdAsync("query");

        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asking);
        await monitor.SendAsync(FakeMonitor.Answer(id));

        BlockException closed = await Assert.ThrowsAsync<BlockException>(() => AskAsync(connection));
        Assert.Equal(BlockErrors.Closed, closed.Kind);
        Assert.Contains("'query' was cancelled", closed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ACommandThatWasCancelledBeforeItsTurnHasNoEffect()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();
        Task<JsonElement> first = AskAsync(connection);
        using CancellationTokenSource cancel = new();
        Task<JsonElement> second = connection.ExecuteAsync("second", null, cancel.Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => second);

        await monitor.SendAsync(FakeMonitor.Answer(await monitor.ReceiveIdAsync("query"), "1"));

        Assert.Equal(1, (await first).GetInt32());
    }

    [Fact]
    public async Task DisposingEndsACommandThatWaits()
    {
        await using FakeMonitor monitor = new();
        QmpConnection connection = await monitor.NegotiateAsync();
        Task<JsonElement> asking = AskAsync(connection);
        await monitor.ReceiveIdAsync("query");

        await connection.DisposeAsync();

        Assert.Equal(BlockErrors.Closed, (await Assert.ThrowsAsync<BlockException>(() => asking)).Kind);
        Assert.Equal(BlockErrors.Closed, (await Assert.ThrowsAsync<BlockException>(() => AskAsync(connection))).Kind);
    }

    [Fact]
    public async Task ABusyMainLoopIsToldByTheMonitorThread()
    {
        await using FakeMonitor monitor = new();
        ManualTime time = new();
        await using QmpConnection connection = await monitor.NegotiateAsync(
            FakeMonitor.GreetingWithOob, new QmpOptions { Time = time });
        Task<JsonElement> asking = AskAsync(connection);
        await monitor.ReceiveIdAsync("query");

        time.Advance(QmpOptions.Default.CommandTimeout);
        await monitor.SendAsync(
            $$$"""{"id":{{{await monitor.ReceiveIdAsync("fleece-probe", "exec-oob")}}},"error":{"class":"CommandNotFound","desc":"no"}}""");

        BlockException silent = await Assert.ThrowsAsync<BlockException>(() => asking);
        Assert.Equal(QemuErrors.MonitorBusy, silent.Kind);
        Assert.Contains("main loop is busy", silent.Message, StringComparison.Ordinal);
        Assert.Contains("within 60 seconds", silent.Message, StringComparison.Ordinal);
        Assert.Equal(QemuErrors.MonitorBusy, (await Assert.ThrowsAsync<BlockException>(() => AskAsync(connection))).Kind);
    }

    [Fact]
    public async Task AnAnswerThatComesDuringTheProbeCounts()
    {
        await using FakeMonitor monitor = new();
        ManualTime time = new();
        await using QmpConnection connection = await monitor.NegotiateAsync(
            FakeMonitor.GreetingWithOob, new QmpOptions { Time = time });
        Task<JsonElement> asking = AskAsync(connection);
        long id = await monitor.ReceiveIdAsync("query");

        time.Advance(QmpOptions.Default.CommandTimeout);
        long probe = await monitor.ReceiveIdAsync("fleece-probe", "exec-oob");
        await monitor.SendAsync(FakeMonitor.Answer(id, "1") + FakeMonitor.Answer(probe));
        Assert.Equal(1, (await asking).GetInt32());

        Task<JsonElement> again = AskAsync(connection);
        await monitor.SendAsync(FakeMonitor.Answer(await monitor.ReceiveIdAsync("query"), "2"));
        Assert.Equal(2, (await again).GetInt32());
    }

    [Fact]
    public async Task AProcessThatStandsStillIsToldByTheSilenceOfItsMonitorThread()
    {
        await using FakeMonitor monitor = new();
        ManualTime time = new();
        await using QmpConnection connection = await monitor.NegotiateAsync(
            FakeMonitor.GreetingWithOob, new QmpOptions { Time = time });
        Task<JsonElement> asking = AskAsync(connection);
        await monitor.ReceiveIdAsync("query");

        time.Advance(QmpOptions.Default.CommandTimeout);
        await monitor.ReceiveIdAsync("fleece-probe", "exec-oob");
        time.Advance(QmpOptions.Default.ProbeTimeout);

        BlockException silent = await Assert.ThrowsAsync<BlockException>(() => asking);
        Assert.Equal(QemuErrors.MonitorBusy, silent.Kind);
        Assert.Contains("the whole process stands still", silent.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AMonitorWithoutAThreadOfItsOwnIsNotProbed()
    {
        await using FakeMonitor monitor = new();
        ManualTime time = new();
        await using QmpConnection connection = await monitor.NegotiateAsync(options: new QmpOptions { Time = time });
        Task<JsonElement> asking = AskAsync(connection);
        await monitor.ReceiveIdAsync("query");

        time.Advance(QmpOptions.Default.CommandTimeout);

        BlockException silent = await Assert.ThrowsAsync<BlockException>(() => asking);
        Assert.Contains("may be busy", silent.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task CommandsOfSeveralThreadsTakeTurns()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();
        Task<JsonElement>[] asking = [.. Enumerable.Range(0, 20).Select(
            number => connection.ExecuteAsync("query", new JsonObject { ["number"] = number }, Cancelled).AsTask())];

        for (int i = 0; i < asking.Length; i++)
        {
            JsonElement command = await monitor.ReceiveAsync();
            await monitor.SendAsync(FakeMonitor.Answer(
                command.GetProperty("id").GetInt64(), command.GetProperty("arguments").GetProperty("number").GetRawText()));
        }

        Assert.Equal(Enumerable.Range(0, 20), (await Task.WhenAll(asking)).Select(answer => answer.GetInt32()));
    }

    private static Task<JsonElement> AskAsync(QmpConnection connection) => connection.ExecuteAsync("query", null, Cancelled).AsTask();
}
