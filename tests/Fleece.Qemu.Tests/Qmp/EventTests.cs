// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Block;
using Fleece.Qemu.Qmp;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Qmp;

/// <summary>Events of a monitor.</summary>
public sealed class EventTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AnEventThatCameBeforeTheAnswerIsFound()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();

        await AskAsync(monitor, connection, Event("GONE", """{"id":"a"}""") + Event("GONE", """{"id":"b"}"""));

        Assert.True(await connection.WaitForEventAsync("GONE", Has("b"), Patience, Cancelled));
        Assert.True(await connection.WaitForEventAsync("GONE", Has("a"), Patience, Cancelled));
    }

    [Fact]
    public async Task AnEventThatComesLaterIsWaitedFor()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();
        Task<bool> waiting = connection.WaitForEventAsync("GONE", Has("a"), Patience, Cancelled).AsTask();

        await monitor.SendAsync(Event("OTHER", "{}") + """{"event":"GONE"}""" + Event("GONE", "[]") + Event("GONE", """{"id":"a"}"""));

        Assert.True(await waiting);
    }

    [Fact]
    public async Task AnEventThatDoesNotComeInTimeIsToldAndTheConnectionGoesOn()
    {
        await using FakeMonitor monitor = new();
        ManualTime time = new();
        await using QmpConnection connection = await monitor.NegotiateAsync(options: new QmpOptions { Time = time });
        Task<bool> waiting = connection.WaitForEventAsync("GONE", Has("a"), TimeSpan.FromSeconds(3), Cancelled).AsTask();
        while (time.ArmedTimers == 0)
        {
            await Task.Delay(1, Cancelled);
        }

        time.Advance(TimeSpan.FromSeconds(3));

        Assert.False(await waiting);
        await AskAsync(monitor, connection, string.Empty);
    }

    [Fact]
    public async Task AnEventFromBeforeTheLastCommandDoesNotCount()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();
        await AskAsync(monitor, connection, Event("GONE", """{"id":"a"}"""));

        await AskAsync(monitor, connection, string.Empty);

        Assert.False(await connection.WaitForEventAsync("GONE", Has("a"), TimeSpan.FromMilliseconds(1), Cancelled));
    }

    [Fact]
    public async Task AQemuThatEndsWhileAnEventIsWaitedForIsGone()
    {
        await using FakeMonitor monitor = new();
        await using QmpConnection connection = await monitor.NegotiateAsync();
        Task<bool> waiting = connection.WaitForEventAsync("GONE", Has("a"), Patience, Cancelled).AsTask();

        monitor.HangUp();

        Assert.Equal(QemuErrors.QemuGone, (await Assert.ThrowsAsync<BlockException>(() => waiting)).Kind);
    }

    [Fact]
    public void TheNewestEventsStayWhenThereAreTooMany()
    {
        QmpEventQueue queue = new();
        for (int i = 0; i < QmpEventQueue.MaximumCount + 10; i++)
        {
            queue.Add("E", JsonElement.Parse($"{i}"), 10);
        }

        Assert.Equal(QmpEventQueue.MaximumCount, queue.Count);
        Assert.False(queue.TryTake("E", data => data.GetInt32() == 9));
        Assert.True(queue.TryTake("E", data => data.GetInt32() == 10));
        Assert.True(queue.TryTake("E", data => data.GetInt32() == QmpEventQueue.MaximumCount + 9));
    }

    [Fact]
    public void TheNewestEventsStayWhenTheyAreTooLong()
    {
        QmpEventQueue queue = new();
        for (int i = 0; i < 5; i++)
        {
            queue.Add("E", JsonElement.Parse($"{i}"), QmpEventQueue.MaximumBytes / 2);
        }

        Assert.Equal(2, queue.Count);
        Assert.True(queue.TryTake("E", data => data.GetInt32() == 4));
    }

    private static string Event(string name, string data) =>
        $$$"""{"timestamp":{"seconds":1,"microseconds":2},"event":"{{{name}}}","data":{{{data}}}}""" + "\r\n";

    private static Func<JsonElement, bool> Has(string id) =>
        data => data.TryGetProperty("id", out JsonElement found) && found.GetString() == id;

    private static async Task AskAsync(FakeMonitor monitor, QmpConnection connection, string eventsBefore)
    {
        Task<JsonElement> asking = connection.ExecuteAsync("query", null, Cancelled).AsTask();
        await monitor.SendAsync(eventsBefore + FakeMonitor.Answer(await monitor.ReceiveIdAsync("query")));
        await asking;
    }
}
