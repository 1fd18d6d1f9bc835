// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;

namespace Fleece.Qemu.Qmp;

/// <summary>A monitor's socket: commands out, messages in.</summary>
/// <remarks>Threading. For one thread at a time; <see cref="Dispose"/> is safe at any time. Ownership. The wire owns the socket.</remarks>
internal sealed class QmpWire(Socket socket, string socketPath, QmpOptions options) : IDisposable
{
    private static readonly JsonElement NoData = JsonElement.Parse("{}");

    private readonly QmpMessageReader _reader = new(socketPath, options.MaximumMessageBytes);

    // When a client leaves before its answer came, QEMU sends that answer to the next client. So the ids of two clients must differ.
    private long _lastId = Random.Shared.NextInt64(1L << 52);
    private string? _shutdownReason;

    /// <summary>Events that came.</summary>
    public QmpEventQueue Events { get; } = new();

    /// <summary>True when the peer has sent a part of a message.</summary>
    public bool HasBegunMessage => _reader.IsWithinMessage || socket.Available > 0;

    /// <summary>Makes the text of a command.</summary>
    /// <param name="verb">"execute" or "exec-oob".</param>
    /// <param name="command">Its name.</param>
    /// <param name="arguments">Its arguments; null for none.</param>
    /// <param name="id">The id that its answer will have.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/> for a text with a character that is no
    /// valid Unicode.</exception>
    public ReadOnlyMemory<byte> Write(string verb, string command, JsonObject? arguments, out long id)
    {
        id = ++_lastId;
        ArrayBufferWriter<byte> text = new();
        using (Utf8JsonWriter writer = new(text))
        {
            writer.WriteStartObject();
            writer.WriteString(verb, command);
            if (arguments is not null)
            {
                writer.WritePropertyName("arguments");
                arguments.WriteTo(writer);
            }

            writer.WriteNumber("id", id);
            writer.WriteEndObject();
        }

        CheckTexts(command, text.WrittenSpan);
        text.Write("\n"u8);
        return text.WrittenMemory;
    }

    /// <summary>Sends a whole text. A closed connection is left to <see cref="ReceiveAsync"/>, for QEMU may have said why.</summary>
    public async ValueTask SendAsync(ReadOnlyMemory<byte> text, CancellationToken cancellationToken)
    {
        try
        {
            while (!text.IsEmpty)
            {
                text = text[await socket.SendAsync(text, SocketFlags.None, cancellationToken).ConfigureAwait(false)..];
            }
        }
        catch (SocketException)
        {
        }
    }

    /// <summary>Receives the next message. Cancelled, it has lost nothing.</summary>
    /// <param name="operation">What is going on, for messages.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="BlockException"><see cref="QemuErrors.NotQmp"/>, <see cref="QemuErrors.QemuGone"/>.</exception>
    public async ValueTask<JsonElement> ReceiveAsync(string operation, CancellationToken cancellationToken)
    {
        JsonElement message;
        while (!_reader.TryTake(out message, out int sizeBytes) || IsEvent(message, sizeBytes))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (sizeBytes == 0 && !await FillAsync(operation, cancellationToken).ConfigureAwait(false))
            {
                throw QmpFailures.Gone(socketPath, operation, _shutdownReason);
            }
        }

        return message;
    }

    /// <summary>Receives until an event of a name came that the caller wants.</summary>
    /// <exception cref="BlockException">As <see cref="ReceiveAsync"/>.</exception>
    public async ValueTask ReceiveEventAsync(string name, Func<JsonElement, bool> isWanted, CancellationToken cancellationToken)
    {
        while (!Events.TryTake(name, isWanted))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (_reader.TryTake(out JsonElement message, out int sizeBytes))
            {
                // Answers that come now are to commands of the client before.
                _ = IsEvent(message, sizeBytes);
            }
            else if (!await FillAsync(name, cancellationToken).ConfigureAwait(false))
            {
                throw QmpFailures.Gone(socketPath, name, _shutdownReason);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => socket.Dispose();

    // .NET puts this character in place of one that it can't encode or decode, so QEMU would be told another name than the real one.
    private void CheckTexts(string command, ReadOnlySpan<byte> text)
    {
        Utf8JsonReader reader = new(text, new JsonReaderOptions { MaxDepth = QmpMessageReader.MaximumDepth });
        while (reader.Read())
        {
            if (reader.TokenType == JsonTokenType.String && reader.GetString()!.Contains('\ufffd', StringComparison.Ordinal))
            {
                throw new BlockException(
                    BlockErrors.InvalidArgument,
                    $"An argument of '{command}' has a character that is no valid Unicode, so QEMU can't be told it: " +
                    $"'{reader.GetString()}'. Give the file or the bitmap another name.",
                    socketPath,
                    operation: command);
            }
        }
    }

    private async ValueTask<bool> FillAsync(string operation, CancellationToken cancellationToken)
    {
        try
        {
            int lengthBytes = await socket.ReceiveAsync(_reader.GetRoom(), SocketFlags.None, cancellationToken).ConfigureAwait(false);
            _reader.Fill(lengthBytes);
            return lengthBytes > 0;
        }
        catch (SocketException e)
        {
            throw QmpFailures.Gone(socketPath, operation, _shutdownReason, e);
        }
    }

    private bool IsEvent(JsonElement message, int sizeBytes)
    {
        if (!message.TryGetProperty("event", out JsonElement name) || name.ValueKind != JsonValueKind.String)
        {
            return false;
        }

        JsonElement data = message.TryGetProperty("data", out JsonElement found) && found.ValueKind == JsonValueKind.Object
            ? found
            : NoData;
        if (name.ValueEquals("SHUTDOWN"u8))
        {
            _shutdownReason = data.TryGetProperty("reason", out JsonElement reason) && reason.ValueKind == JsonValueKind.String
                ? reason.GetString()
                : "no reason given";
        }

        Events.Add(name.GetString()!, data, sizeBytes);
        return true;
    }
}
