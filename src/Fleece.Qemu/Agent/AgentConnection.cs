// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Agent;

/// <summary>A connection to the agent in a guest, over the socket that the guest's QEMU has for it.</summary>
/// <remarks>
/// <para>The protocol is that of QEMU's guest agent reference ("QEMU Guest Agent Protocol Reference"): JSON objects, one a line. The agent
/// answers commands one after another, in their order, and QEMU has one client at a time.</para>
/// <para>Threading. One caller at a time.</para>
/// </remarks>
internal sealed class AgentConnection : IDisposable
{
    /// <summary>How long an agent may take to answer a question that costs it nothing.</summary>
    public static readonly TimeSpan AnswerTime = TimeSpan.FromSeconds(5);

    // The list of commands, the longest answer, has about 8 KiB. A guest is a stranger: its answers have bounds.
    private const int MaximumLineBytes = 256 * 1024;
    private const int MaximumSkippedBytes = 4 * 1024 * 1024;

    // Ends what the agent's parser had before; the agent's answer to guest-sync-delimited begins with it.
    private const byte Delimiter = 0xFF;

    private readonly Socket _socket;
    private byte[] _bytes = new byte[16 * 1024];
    private int _count;
    private int _owedAnswers;

    private AgentConnection(Socket socket, string path)
    {
        _socket = socket;
        SocketPath = path;
    }

    /// <summary>The socket's path.</summary>
    public string SocketPath { get; }

    /// <summary>Connects, and finds the place in the stream where answers to this client begin.</summary>
    /// <param name="path">The socket's path.</param>
    /// <param name="patience">How long to wait for the agent.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException"><see cref="QemuErrors.AgentFailed"/> with what to do; <see cref="BlockErrors.InvalidArgument"/>:
    /// the path can't be that of a socket.</exception>
    public static async ValueTask<AgentConnection> ConnectAsync(string path, TimeSpan patience, CancellationToken cancellationToken)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(patience);
        AgentConnection? made = null;
        try
        {
            made = new AgentConnection(await OpenAsync(path, limit.Token).ConfigureAwait(false), path);
            await made.SynchronizeAsync(limit.Token).ConfigureAwait(false);
            return made;
        }
        catch (Exception e)
        {
            made?.Dispose();
            throw e is OperationCanceledException && !cancellationToken.IsCancellationRequested ? AgentFailures.Silent(path, patience) : e;
        }
    }

    /// <summary>Finds the place in the stream where answers to what is sent from now on begin.</summary>
    /// <remarks>An earlier client may have left half a command in the agent's parser, and answers that it did not wait for in the stream.
    /// </remarks>
    /// <exception cref="BlockException"><see cref="QemuErrors.AgentFailed"/>: the connection has ended, or the peer is no agent.
    /// </exception>
    public async ValueTask SynchronizeAsync(CancellationToken cancellationToken)
    {
        long id = Random.Shared.NextInt64(1L << 53);
        JsonObject command = new() { ["execute"] = "guest-sync-delimited", ["arguments"] = new JsonObject { ["id"] = id } };
        await SendAsync(
            [Delimiter, .. Encoding.UTF8.GetBytes(command.ToJsonString() + '\n')], cancellationToken).ConfigureAwait(false);
        for (int skippedBytes = 0; skippedBytes <= MaximumSkippedBytes;)
        {
            byte[] line = await ReadLineAsync(isTolerant: true, cancellationToken).ConfigureAwait(false);
            CheckIsNoMonitor(line);
            skippedBytes += line.Length + 1;
            int start = Array.LastIndexOf(line, Delimiter) + 1;
            if (start != 0 && AgentAnswer.TryParse(line.AsMemory(start)) is { Error: null } answer &&
                answer.Return.ValueKind == JsonValueKind.Number && answer.Return.TryGetInt64(out long echoed) && echoed == id)
            {
                _owedAnswers = 0;
                return;
            }
        }

        throw AgentFailures.NotAnAgent(SocketPath, $"It sent more than {MaximumSkippedBytes >> 20} MiB without an answer.");
    }

    /// <summary>Sends a command.</summary>
    /// <exception cref="BlockException"><see cref="QemuErrors.AgentFailed"/>: the connection has ended.</exception>
    public ValueTask SendAsync(string command, CancellationToken cancellationToken)
    {
        _owedAnswers++;
        return SendAsync(Encoding.UTF8.GetBytes(new JsonObject { ["execute"] = command }.ToJsonString() + '\n'), cancellationToken);
    }

    /// <summary>Receives the answer to the last command that was sent. Those to commands before it are passed over.</summary>
    /// <remarks>A call that is cancelled has lost nothing; the next one goes on.</remarks>
    /// <exception cref="BlockException"><see cref="QemuErrors.AgentFailed"/>: the connection has ended, or the answer is none.</exception>
    public async ValueTask<AgentAnswer> ReceiveAsync(CancellationToken cancellationToken)
    {
        AgentAnswer answer;
        do
        {
            answer = AgentAnswer.Parse(await ReadLineAsync(isTolerant: false, cancellationToken).ConfigureAwait(false), SocketPath);
            _owedAnswers--;
        }
        while (_owedAnswers > 0);
        return answer;
    }

    /// <summary>Runs a command that costs the agent nothing.</summary>
    /// <exception cref="BlockException"><see cref="QemuErrors.AgentFailed"/>: also when the agent refuses it, or does not answer in
    /// <see cref="AnswerTime"/>.</exception>
    public async ValueTask<JsonElement> AskAsync(string command, CancellationToken cancellationToken)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(AnswerTime);
        try
        {
            await SendAsync(command, limit.Token).ConfigureAwait(false);
            AgentAnswer answer = await ReceiveAsync(limit.Token).ConfigureAwait(false);
            return answer.Error is { } error ? throw AgentFailures.Refused(SocketPath, command, error) : answer.Return;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw AgentFailures.Silent(SocketPath, AnswerTime);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    private static async ValueTask<Socket> OpenAsync(string path, CancellationToken cancellationToken)
    {
        UnixDomainSocketEndPoint address;
        try
        {
            address = new UnixDomainSocketEndPoint(path);
        }
        catch (ArgumentException e)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{path}' can't be the path of the agent's socket: a path of a unix socket has 1 to 107 bytes.",
                path,
                cause: e);
        }

        try
        {
            return await QueueingSocket.ConnectAsync(address, TimeProvider.System, cancellationToken).ConfigureAwait(false);
        }
        catch (SocketException e)
        {
            throw AgentFailures.Unreachable(path, e);
        }
    }

    // QEMU's QMP specification, "Server Greeting"; and the first words of its human monitor.
    private void CheckIsNoMonitor(ReadOnlySpan<byte> line)
    {
        if (line.StartsWith("{\"QMP\""u8))
        {
            throw AgentFailures.NotAnAgent(SocketPath, "It is the QMP socket of a QEMU.");
        }

        if (line.StartsWith("QEMU "u8) && line.IndexOf(" monitor - "u8) > 0)
        {
            throw AgentFailures.NotAnAgent(SocketPath, "It is the human monitor of a QEMU.");
        }
    }

    private async ValueTask SendAsync(byte[] bytes, CancellationToken cancellationToken)
    {
        try
        {
            for (int sent = 0; sent < bytes.Length;)
            {
                sent += await _socket.SendAsync(bytes.AsMemory(sent), cancellationToken).ConfigureAwait(false);
            }
        }
        catch (SocketException e)
        {
            throw AgentFailures.Closed(SocketPath, e);
        }
    }

    private async ValueTask<byte[]> ReadLineAsync(bool isTolerant, CancellationToken cancellationToken)
    {
        int looked = 0;
        while (true)
        {
            int end = Array.IndexOf(_bytes, (byte)'\n', looked, _count - looked);
            if (end >= 0)
            {
                byte[] line = _bytes[..end];
                _count -= end + 1;
                Buffer.BlockCopy(_bytes, end + 1, _bytes, 0, _count);
                return line;
            }

            if (_count == MaximumLineBytes)
            {
                if (!isTolerant)
                {
                    throw AgentFailures.NotAnAgent(SocketPath, $"It sent a line of more than {MaximumLineBytes >> 10} KiB.");
                }

                byte[] piece = _bytes[.._count];
                _count = 0;
                return piece;
            }

            looked = _count;
            if (_count == _bytes.Length)
            {
                Array.Resize(ref _bytes, Math.Min(2 * _count, MaximumLineBytes));
            }

            await FillAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private async ValueTask FillAsync(CancellationToken cancellationToken)
    {
        try
        {
            int received = await _socket.ReceiveAsync(_bytes.AsMemory(_count), cancellationToken).ConfigureAwait(false);
            _count += received != 0 ? received : throw AgentFailures.Closed(SocketPath, null);
        }
        catch (SocketException e)
        {
            throw AgentFailures.Closed(SocketPath, e);
        }
    }
}
