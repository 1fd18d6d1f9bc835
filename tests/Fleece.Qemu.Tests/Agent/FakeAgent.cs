// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Fleece.Qemu.Tests.Guard;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Agent;

/// <summary>A guest's agent behind the socket of a QEMU: one client at a time, one command at a time, and a parser that outlives clients.
/// </summary>
internal sealed class FakeAgent : IAsyncDisposable
{
    private readonly Channel<byte[]> _arrived = Channel.CreateUnbounded<byte[]>();
    private readonly Channel<string> _commands = Channel.CreateUnbounded<string>();
    private readonly TempFolder _folder = new();
    private readonly CancellationTokenSource _end = new();
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly List<byte> _line = [];
    private readonly Task _serving;
    private readonly Task _obeying;
    private volatile Socket? _client;

    public FakeAgent()
    {
        _listener.Bind(new UnixDomainSocketEndPoint(SocketPath));
        _listener.Listen(1);
        _serving = ServeAsync();
        _obeying = ObeyAsync();
    }

    /// <summary>The socket that QEMU has for it.</summary>
    public string SocketPath => _folder.File("agent.sock");

    /// <summary>True while the guest's file systems are frozen.</summary>
    public bool IsFrozen { get; set; }

    /// <summary>How often they were frozen, and thawed.</summary>
    public int Freezes { get; private set; }

    /// <inheritdoc cref="Freezes"/>
    public int Thaws { get; private set; }

    /// <summary>How many file systems the guest has.</summary>
    public int FileSystems { get; init; } = 2;

    /// <summary>True for an agent that is not there: QEMU takes what it is sent.</summary>
    public bool IsAbsent { get; init; }

    /// <summary>Commands that its administrator has disabled.</summary>
    public string[] Disabled { get; init; } = [];

    /// <summary>Commands that fail, and why.</summary>
    public Dictionary<string, string> Refusals { get; } = [];

    /// <summary>What is run before a command is.</summary>
    public Func<string, Task> Before { get; set; } = _ => Task.CompletedTask;

    /// <summary>What stands in the stream for the first client.</summary>
    public byte[] Leftover { get; init; } = [];

    /// <summary>What is sent in place of any answer; null for the answer.</summary>
    public string? Nonsense { get; set; }

    /// <summary>How many bytes go out at once.</summary>
    public int PieceBytes { get; init; } = int.MaxValue;

    /// <summary>Bytes that an earlier client has sent, which the agent's parser has still.</summary>
    public void SendBefore(string text) => _line.AddRange(Encoding.UTF8.GetBytes(text));

    /// <summary>Waits until a command has been run.</summary>
    public async Task WaitForAsync(string command)
    {
        using CancellationTokenSource patience = Processes.Patience();
        while (await _commands.Reader.ReadAsync(patience.Token) != command)
        {
        }
    }

    /// <summary>Ends the connection of the client, as QEMU does when the guest's port closes.</summary>
    public void Disconnect() => _client?.Shutdown(SocketShutdown.Both);

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _listener.Dispose();
        await Task.WhenAll(_serving, _obeying);
        _folder.Dispose();
        _end.Dispose();
    }

    private async Task ServeAsync()
    {
        byte[] buffer = new byte[4096];
        bool isFirst = true;
        while (!_end.IsCancellationRequested)
        {
            try
            {
                using Socket client = _client = await _listener.AcceptAsync(_end.Token);
                await SendAsync(isFirst ? Leftover : []);
                isFirst = false;
                while (await client.ReceiveAsync(buffer, _end.Token) is > 0 and var count)
                {
                    _arrived.Writer.TryWrite(buffer[..count]);
                }
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
            {
                // The client went, or the test is over.
            }

            _client = null;
        }

        _arrived.Writer.Complete();
    }

    private async Task ObeyAsync()
    {
        await foreach (byte[] bytes in _arrived.Reader.ReadAllAsync())
        {
            foreach (byte value in IsAbsent ? [] : bytes)
            {
                if (value == 0xFF)
                {
                    // As the agent of QEMU 7.2 does.
                    _line.Clear();
                    await SendAsync(Encoding.UTF8.GetBytes(Error("JSON parse error, stray '\\uFFFD'").ToJsonString() + '\n'));
                }
                else if (value != '\n')
                {
                    _line.Add(value);
                }
                else
                {
                    string line = Encoding.UTF8.GetString([.. _line]);
                    _line.Clear();
                    await AnswerAsync(line).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                }
            }
        }
    }

    private async Task AnswerAsync(string line)
    {
        JsonNode? command = null;
        try
        {
            command = JsonNode.Parse(line);
        }
        catch (JsonException)
        {
        }

        string name = (string?)command?["execute"] ?? string.Empty;
        await Before(name).WaitAsync(_end.Token);
        JsonObject answer = Refusals.TryGetValue(name, out string? reason) || Disabled.Contains(name)
            ? Error(reason ?? $"Command {name} has been disabled")
            : Run(name, command);
        byte[] bytes = Encoding.UTF8.GetBytes((Nonsense ?? answer.ToJsonString()) + '\n');
        await SendAsync(name == "guest-sync-delimited" && Nonsense is null ? [0xFF, .. bytes] : bytes);
        _commands.Writer.TryWrite(name);
    }

    private JsonObject Run(string name, JsonNode? command)
    {
        switch (name)
        {
            case "guest-sync-delimited":
                return Return(command!["arguments"]!["id"]!.DeepClone());
            case "guest-info":
                string[] known = ["guest-info", "guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-fsfreeze-status"];
                JsonArray commands = [.. known.Select(item => new JsonObject
                {
                    ["enabled"] = !Disabled.Contains(item) && !(IsFrozen && item == "guest-fsfreeze-freeze"),
                    ["name"] = item,
                    ["success-response"] = true,
                })];
                return Return(new JsonObject { ["version"] = "7.2.22", ["supported_commands"] = commands });
            case "guest-fsfreeze-status":
                return Return(IsFrozen ? "frozen" : "thawed");
            case "guest-fsfreeze-freeze" when IsFrozen:
                return Error("Command guest-fsfreeze-freeze has been disabled: the agent is in frozen state");
            case "guest-fsfreeze-freeze":
                IsFrozen = FileSystems > 0;
                Freezes++;
                return Return(FileSystems);
            case "guest-fsfreeze-thaw":
                int thawed = IsFrozen ? FileSystems : 0;
                Thaws += IsFrozen ? 1 : 0;
                IsFrozen = false;
                return Return(thawed);
            default:
                return Error("JSON parse error, expecting value");
        }
    }

    private async Task SendAsync(byte[] bytes)
    {
        try
        {
            for (int at = 0; at < bytes.Length && _client is { } client;)
            {
                at += await client.SendAsync(bytes.AsMemory(at, Math.Min(PieceBytes, bytes.Length - at)));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The client went.
        }
    }

    private static JsonObject Return(JsonNode value) => new() { ["return"] = value };

    private static JsonObject Error(string reason) =>
        new() { ["error"] = new JsonObject { ["class"] = "GenericError", ["desc"] = reason } };
}
