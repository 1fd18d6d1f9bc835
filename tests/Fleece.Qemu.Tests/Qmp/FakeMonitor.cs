// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Fleece.Block;
using Fleece.Qemu.Qmp;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Qmp;

/// <summary>The other end of a connection: the test says what it sends, byte by byte, and when.</summary>
internal sealed class FakeMonitor : IAsyncDisposable
{
    /// <summary>The greeting of a QEMU without out-of-band commands.</summary>
    public const string Greeting =
        """{"QMP":{"version":{"qemu":{"micro":1,"minor":2,"major":8},"package":""},"capabilities":[]}}""" + "\r\n";

    /// <summary>The greeting of one with them.</summary>
    public const string GreetingWithOob =
        """{"QMP":{"version":{"qemu":{"micro":1,"minor":2,"major":8},"package":""},"capabilities":["oob"]}}""" + "\r\n";

    private readonly TempFolder _folder = new();
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private Socket? _client;
    private StreamReader? _lines;

    /// <summary>Listens.</summary>
    public FakeMonitor(int backlog = 1)
    {
        _listener.Bind(new UnixDomainSocketEndPoint(SocketPath));
        _listener.Listen(backlog);
    }

    /// <summary>Where it listens.</summary>
    public string SocketPath => _folder.File("qmp");

    /// <summary>Makes an answer.</summary>
    public static string Answer(long id, string result = "{}") => $$"""{"return": {{result}}, "id": {{id}}}""" + "\r\n";

    /// <summary>Connects a client to it.</summary>
    public Task<QmpConnection> ConnectAsync(QmpOptions? options = null, CancellationToken? cancellationToken = null) => QmpConnection
        .ConnectAsync(SocketPath, options ?? QmpOptions.Default, cancellationToken ?? TestContext.Current.CancellationToken).AsTask();

    /// <summary>Connects a client, greets it and answers its negotiation.</summary>
    public async Task<QmpConnection> NegotiateAsync(string greeting = Greeting, QmpOptions? options = null)
    {
        Task<QmpConnection> connecting = ConnectAsync(options);
        await AcceptAsync();
        await SendAsync(greeting);
        await SendAsync(Answer(await ReceiveIdAsync("qmp_capabilities")));
        return await connecting;
    }

    /// <summary>Fails to connect a client.</summary>
    public async Task<BlockException> FailAsync(Func<Task> peer, QmpOptions? options = null)
    {
        Task<QmpConnection> connecting = ConnectAsync(options);
        await AcceptAsync();
        await peer();
        return await Assert.ThrowsAsync<BlockException>(() => connecting);
    }

    /// <summary>Takes the next client.</summary>
    public async Task AcceptAsync()
    {
        _client = await _listener.AcceptAsync(TestContext.Current.CancellationToken);
        _lines = new StreamReader(new NetworkStream(_client));
    }

    /// <summary>Sends a text.</summary>
    public Task SendAsync(string text) => SendAsync(Encoding.UTF8.GetBytes(text));

    /// <summary>Sends bytes.</summary>
    public async Task SendAsync(ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[await _client!.SendAsync(bytes, TestContext.Current.CancellationToken)..];
        }
    }

    /// <summary>Receives a command.</summary>
    public async Task<JsonElement> ReceiveAsync() =>
        JsonElement.Parse((await _lines!.ReadLineAsync(TestContext.Current.CancellationToken))!);

    /// <summary>Receives a command that must have the name.</summary>
    public async Task<long> ReceiveIdAsync(string command, string verb = "execute")
    {
        JsonElement received = await ReceiveAsync();
        Assert.Equal(command, received.GetProperty(verb).GetString());
        return received.GetProperty("id").GetInt64();
    }

    /// <summary>Ends the connection.</summary>
    public void HangUp() => _client!.Dispose();

    /// <summary>Stops listening; the socket's file stays.</summary>
    public void StopListening() => _listener.Dispose();

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _client?.Dispose();
        _lines?.Dispose();
        _listener.Dispose();
        _folder.Dispose();
        return default;
    }
}
