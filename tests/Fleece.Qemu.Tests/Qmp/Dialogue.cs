// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Tests.Qmp;

/// <summary>A dialogue with a real QEMU, played back: the client must send the recorded commands in their order, and gets QEMU's messages
/// with its own ids.</summary>
/// <remarks>The first line of a file says which QEMU it is of and how that was started.</remarks>
internal sealed class Dialogue : IAsyncDisposable
{
    /// <summary>The files.</summary>
    public static TheoryData<string> Files => ["qemu-7.2.22.jsonl", "qemu-10.0.13.jsonl"];

    private readonly FakeMonitor _monitor = new();
    private readonly Task _playing;

    private Dialogue(IEnumerable<JsonObject> lines)
    {
        _playing = PlayAsync(lines);
    }

    /// <summary>Opens a file and connects to it.</summary>
    public static async Task<(Dialogue Dialogue, QmpConnection Connection)> ConnectAsync(string file)
    {
        string[] lines = await File.ReadAllLinesAsync(
            Path.Combine(AppContext.BaseDirectory, "Qmp", "Dialogues", file), TestContext.Current.CancellationToken);
        Dialogue dialogue = new(lines.Skip(1).Select(line => JsonNode.Parse(line)!.AsObject()));
        return (dialogue, await dialogue._monitor.ConnectAsync());
    }

    /// <summary>Ends when all was said.</summary>
    public Task WhenOverAsync() => _playing;

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _monitor.DisposeAsync();

    private async Task PlayAsync(IEnumerable<JsonObject> lines)
    {
        long id = 0;
        await _monitor.AcceptAsync();
        foreach (JsonObject line in lines)
        {
            if (line["received"] is { } received)
            {
                if (received["id"] is not null)
                {
                    received["id"] = id;
                }

                await _monitor.SendAsync(received.ToJsonString() + "\r\n");
            }
            else
            {
                JsonObject sent = JsonObject.Create(await _monitor.ReceiveAsync())!;
                id = sent["id"]!.GetValue<long>();
                sent["id"] = line["sent"]!["id"]!.GetValue<long>();
                Assert.True(JsonNode.DeepEquals(line["sent"], sent), $"{sent} instead of {line["sent"]}");
            }
        }

        _monitor.HangUp();
    }
}
