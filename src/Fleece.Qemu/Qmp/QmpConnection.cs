// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;

namespace Fleece.Qemu.Qmp;

/// <summary>A connection to the monitor of a QEMU; QEMU's "QMP Protocol Specification".</summary>
/// <remarks>
/// A monitor serves one client at a time, so a connection is held for as long as a command of the user takes.
/// A command that was cancelled or got no answer in time makes the connection unusable: QEMU may still run it, so its effect is to be
/// asked for on a new one.
/// Threading. All members are safe from any thread; commands take turns, and waiting for an event is a turn.
/// Ownership. Disposing ends the connection, and with it a command that waits.
/// </remarks>
internal sealed class QmpConnection : IQmpChannel, IAsyncDisposable
{
    // Any name that QEMU does not have will do: its monitor thread answers an unknown command at once.
    private const string Probe = "fleece-probe";

    private readonly QmpWire _wire;
    private readonly QmpOptions _options;
    private readonly QmpGreeting _greeting;
    private readonly SocketPeer? _peer;
    private readonly SemaphoreSlim _turn = new(1, 1);
    private volatile BlockException? _end;
    private bool _isNegotiated;

    private QmpConnection(string socketPath, QmpWire wire, QmpOptions options, QmpGreeting greeting, SocketPeer? peer)
    {
        (SocketPath, _wire, _options, _greeting, _peer) = (socketPath, wire, options, greeting, peer);
    }

    /// <inheritdoc/>
    public string SocketPath { get; }

    /// <inheritdoc/>
    public QemuVersion Version => _greeting.Version;

    /// <summary>True when QEMU's monitor has a thread of its own.</summary>
    public bool HasOutOfBand => _greeting.HasOutOfBand;

    /// <inheritdoc/>
    public uint? PeerUserId => _peer?.UserId;

    /// <summary>The group of that process.</summary>
    public uint? PeerGroupId => _peer?.GroupId;

    /// <summary>Connects, waits for the greeting, and negotiates.</summary>
    /// <param name="socketPath">The socket.</param>
    /// <param name="options">Waiting times and limits.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="BlockException"><see cref="QemuErrors.QemuNotRunning"/>, <see cref="BlockErrors.PermissionDenied"/>,
    /// <see cref="BlockErrors.InvalidArgument"/> for a path that can't be a socket's, <see cref="QemuErrors.NotQmp"/>,
    /// <see cref="QemuErrors.MonitorBusy"/> or <see cref="QemuErrors.QemuGone"/>.</exception>
    public static async ValueTask<QmpConnection> ConnectAsync(string socketPath, QmpOptions options, CancellationToken cancellationToken)
    {
        QmpDialer dialer = new(socketPath, options);
        (QmpWire wire, QmpGreeting greeting, SocketPeer? peer) = await dialer.DialAsync(cancellationToken).ConfigureAwait(false);
        QmpConnection connection = new(socketPath, wire, options, greeting, peer);
        bool isReady = false;
        try
        {
            JsonObject? capabilities = greeting.HasOutOfBand ? new JsonObject { ["enable"] = new JsonArray("oob") } : null;
            _ = await connection.ExecuteAsync("qmp_capabilities", capabilities, cancellationToken).ConfigureAwait(false);
            isReady = connection._isNegotiated = true;
            return connection;
        }
        finally
        {
            if (!isReady)
            {
                await connection.DisposeAsync().ConfigureAwait(false);
            }
        }
    }

    /// <inheritdoc/>
    public async ValueTask<JsonElement> ExecuteAsync(string command, JsonObject? arguments, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            ThrowIfEnded();
            ReadOnlyMemory<byte> text = _wire.Write("execute", command, arguments, out long id);
            _wire.Events.Clear();
            return await RunAsync(command, text, id, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <inheritdoc/>
    public async ValueTask<bool> WaitForEventAsync(
        string name, Func<JsonElement, bool> isWanted, TimeSpan timeout, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            ThrowIfEnded();
            using CancellationTokenSource late = new(timeout, _options.Time);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, late.Token);
            await _wire.ReceiveEventAsync(name, isWanted, limit.Token).ConfigureAwait(false);
            return true;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return false;
        }
        catch (Exception e) when (e is BlockException or ObjectDisposedException)
        {
            throw End(e);
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _end ??= QmpFailures.Closed(SocketPath, "it was disposed");
        _wire.Dispose();
        return default;
    }

    private async ValueTask<JsonElement> RunAsync(
        string command, ReadOnlyMemory<byte> text, long id, CancellationToken cancellationToken)
    {
        JsonElement? answer;
        try
        {
            bool isSent = false;
            using CancellationTokenSource late = new(TimeoutOf(command), _options.Time);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, late.Token);
            try
            {
                await _wire.SendAsync(text, limit.Token).ConfigureAwait(false);
                isSent = true;
                answer = await ReceiveAnswerAsync(command, id, null, limit.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                answer = await ProbeAsync(command, id, isSent, cancellationToken).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            _ = End(QmpFailures.Closed(SocketPath, $"'{command}' was cancelled, and QEMU may still run it"));
            throw;
        }
        catch (Exception e) when (e is BlockException or ObjectDisposedException)
        {
            throw End(e);
        }

        // A refusal is an answer like others, so the connection goes on.
        return answer is { } found ? ResultOf(command, found) : throw _end!;
    }

    // Asks the monitor thread whether it lives. The answer to the command may come meanwhile, and counts. During the negotiation the thread
    // reads nothing more, and has just greeted.
    private async ValueTask<JsonElement?> ProbeAsync(string command, long id, bool isSent, CancellationToken cancellationToken)
    {
        bool? isAlive = HasOutOfBand ? !_isNegotiated : null;
        if (isSent && HasOutOfBand && _isNegotiated)
        {
            using CancellationTokenSource late = new(_options.ProbeTimeout, _options.Time);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, late.Token);
            try
            {
                await _wire.SendAsync(_wire.Write("exec-oob", Probe, null, out long probeId), limit.Token).ConfigureAwait(false);
                if (await ReceiveAnswerAsync(command, id, probeId, limit.Token).ConfigureAwait(false) is { } answer)
                {
                    return answer;
                }

                isAlive = true;
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
            }
        }

        throw QmpFailures.Silent(SocketPath, command, TimeoutOf(command), isAlive);
    }

    // Null for the answer to the probe. Other answers are to commands of the client before, which may have had no ids.
    private async ValueTask<JsonElement?> ReceiveAnswerAsync(string command, long id, long? probeId, CancellationToken cancellationToken)
    {
        while (true)
        {
            JsonElement message = await _wire.ReceiveAsync(command, cancellationToken).ConfigureAwait(false);
            long? found = message.TryGetProperty("id", out JsonElement member) && member.ValueKind == JsonValueKind.Number &&
                member.TryGetInt64(out long number) ? number : null;
            if (found == id)
            {
                return message;
            }

            if (found is not null && found == probeId)
            {
                return null;
            }
        }
    }

    private JsonElement ResultOf(string command, JsonElement answer)
    {
        if (answer.TryGetProperty("return", out JsonElement result))
        {
            return result;
        }

        if (answer.TryGetProperty("error", out JsonElement error) && error.ValueKind == JsonValueKind.Object &&
            error.TryGetProperty("class", out JsonElement kind) && kind.ValueKind == JsonValueKind.String &&
            error.TryGetProperty("desc", out JsonElement description) && description.ValueKind == JsonValueKind.String)
        {
            throw new QmpRefusal(command, kind.GetString()!, description.GetString()!).ToException(SocketPath);
        }

        throw End(QmpFailures.NotQmp(SocketPath, $"its answer to '{command}' has neither a result nor an error"));
    }

    private TimeSpan TimeoutOf(string command) =>
        command.StartsWith("query-", StringComparison.Ordinal) || command is "qom-get" or "qom-list" or "qmp_capabilities"
            ? TimeSpan.FromTicks(Math.Min(_options.QueryTimeout.Ticks, _options.CommandTimeout.Ticks))
            : _options.CommandTimeout;

    private void ThrowIfEnded()
    {
        if (_end is { } end)
        {
            throw new BlockException(end.Kind, end.Message, SocketPath, operation: end.Operation, cause: end);
        }
    }

    // The first cause stays: a socket that was disposed under a command fails in ways that say less.
    private BlockException End(Exception cause) =>
        _end ??= cause as BlockException ?? QmpFailures.Closed(SocketPath, "it was disposed");
}
