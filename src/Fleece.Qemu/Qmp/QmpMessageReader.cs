// SPDX-License-Identifier: MIT
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Fleece.Block;

namespace Fleece.Qemu.Qmp;

/// <summary>Cuts the bytes of a monitor into messages: JSON objects one after another, each on a line of its own, or on several lines where
/// the monitor was told to be "pretty".</summary>
/// <remarks>A peer can make it keep <c>maximumBytes</c> bytes and no more. After a refusal the reader has lost its place and is not used
/// again. Threading. For one thread at a time.</remarks>
/// <param name="socketPath">The socket, for messages.</param>
/// <param name="maximumBytes">Bytes of the longest message.</param>
internal sealed class QmpMessageReader(string socketPath, int maximumBytes)
{
    /// <summary>Most levels of a message: MAX_NESTING of QEMU's JSON parser. A chain of backing images takes a level for each image.
    /// </summary>
    public const int MaximumDepth = 1024;

    private const int MaximumWhiteSpaceBytes = 4096;
    private const int FirstBufferBytes = 16 << 10;
    private const int ShownBytes = 24;

    private static readonly JsonReaderOptions Strict = new() { MaxDepth = MaximumDepth };

    private byte[] _buffer = new byte[Math.Min(FirstBufferBytes, maximumBytes)];
    private int _start;
    private int _scanned;
    private int _end;
    private int _depth;
    private int _whiteSpaceBytes;
    private bool _isInString;
    private bool _isEscaped;

    /// <summary>True when the bytes so far end within a message.</summary>
    public bool IsWithinMessage => _depth > 0;

    /// <summary>Room for bytes that are received next; never empty. All messages were taken before.</summary>
    /// <exception cref="BlockException"><see cref="QemuErrors.NotQmp"/> when the message is too long.</exception>
    public Memory<byte> GetRoom()
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start.._end).CopyTo(_buffer);
            (_scanned, _end, _start) = (_scanned - _start, _end - _start, 0);
        }

        if (_end == _buffer.Length)
        {
            if (_end >= maximumBytes)
            {
                throw Refused($"it sent a message of more than {maximumBytes} bytes");
            }

            Array.Resize(ref _buffer, (int)Math.Min(2L * _buffer.Length, maximumBytes));
        }

        return _buffer.AsMemory(_end);
    }

    /// <summary>Tells how many bytes of the room were filled.</summary>
    public void Fill(int lengthBytes) => _end += lengthBytes;

    /// <summary>Takes the next whole message, a JSON object whose texts are all valid.</summary>
    /// <param name="message">The message.</param>
    /// <param name="sizeBytes">Bytes of its text.</param>
    /// <returns>False when more bytes are needed.</returns>
    /// <exception cref="BlockException"><see cref="QemuErrors.NotQmp"/>.</exception>
    public bool TryTake(out JsonElement message, out int sizeBytes)
    {
        while (_scanned < _end)
        {
            if (Scan(_buffer[_scanned++]))
            {
                ReadOnlySpan<byte> text = _buffer.AsSpan(_start.._scanned);
                sizeBytes = text.Length;
                message = Parse(text);
                _start = _scanned;
                _whiteSpaceBytes = 0;
                return true;
            }
        }

        (message, sizeBytes) = (default, 0);
        return false;
    }

    // True for the last byte of a message. Brackets within texts do not count.
    private bool Scan(byte next)
    {
        if (_depth == 0)
        {
            Begin(next);
        }
        else if (_isInString)
        {
            _isInString = _isEscaped || next != '"';
            _isEscaped = !_isEscaped && next == '\\';
        }
        else if (next == '"')
        {
            _isInString = true;
        }
        else if (next is (byte)'{' or (byte)'[' && ++_depth > MaximumDepth)
        {
            throw Refused($"it sent a message that is nested deeper than {MaximumDepth} levels");
        }
        else if (next is (byte)'}' or (byte)']')
        {
            return --_depth == 0;
        }

        return false;
    }

    private void Begin(byte next)
    {
        if (next == '{')
        {
            _start = _scanned - 1;
            _depth = 1;
        }
        else if (next is not ((byte)' ' or (byte)'\r' or (byte)'\n' or (byte)'\t'))
        {
            string shown = Encoding.ASCII.GetString(_buffer.AsSpan(_scanned - 1, Math.Min(_end - _scanned + 1, ShownBytes)));
            throw Refused($"it sent '{shown}', which is no JSON object");
        }
        else if (++_whiteSpaceBytes > MaximumWhiteSpaceBytes)
        {
            throw Refused("it sends white space without end");
        }
        else
        {
            _start = _scanned;
        }
    }

    private JsonElement Parse(ReadOnlySpan<byte> text)
    {
        try
        {
            // The reader of .NET checks neither bytes nor escaped surrogates before a text is asked for.
            if (!Utf8.IsValid(text))
            {
                throw Refused("it sent bytes that are no UTF-8");
            }

            for (Utf8JsonReader reader = new(text, Strict); reader.Read();)
            {
                if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName && reader.ValueIsEscaped)
                {
                    _ = reader.GetString();
                }
            }

            Utf8JsonReader whole = new(text, Strict);
            return JsonElement.ParseValue(ref whole);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw Refused("it sent a message that is no valid JSON", e);
        }
    }

    private BlockException Refused(string reason, Exception? cause = null) => QmpFailures.NotQmp(socketPath, reason, cause);
}
