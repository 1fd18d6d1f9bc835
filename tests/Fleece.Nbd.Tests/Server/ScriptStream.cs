// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Server;

/// <summary>A connection to a client that sends what it was told to, whatever it is answered, and then leaves.</summary>
/// <remarks>Threading. One reader; writers from any thread.</remarks>
internal sealed class ScriptStream(byte[] script, Func<int, int>? pieceBytes = null) : Stream
{
    private readonly MemoryStream _sent = new();
    private int _at;

    /// <summary>What the server has sent.</summary>
    public byte[] Sent
    {
        get
        {
            lock (_sent)
            {
                return _sent.ToArray();
            }
        }
    }

    /// <summary>How often the server has sent something.</summary>
    public int WriteCount { get; private set; }

    /// <summary>Bytes of the script that the server has read.</summary>
    public int ReadBytes => _at;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override bool CanTimeout => true;

    public override int ReadTimeout { get; set; }

    public override int WriteTimeout { get; set; }

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override int Read(Span<byte> buffer)
    {
        int bytes = Math.Min(buffer.Length, script.Length - _at);
        bytes = bytes > 1 && pieceBytes is not null ? Math.Clamp(pieceBytes(bytes), 1, bytes) : bytes;
        script.AsSpan(_at, bytes).CopyTo(buffer);
        _at += bytes;
        return bytes;
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        lock (_sent)
        {
            _sent.Write(buffer);
            WriteCount++;
        }
    }

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();
}

/// <summary>Reads replies to options from bytes.</summary>
internal static class OptionReplies
{
    /// <summary>All replies; fails where the bytes are none.</summary>
    public static List<OptionAnswer> Read(ReadOnlySpan<byte> bytes)
    {
        List<OptionAnswer> answers = [];
        while (!bytes.IsEmpty)
        {
            answers.Add(ReadOne(ref bytes));
        }

        return answers;
    }

    public static OptionAnswer ReadOne(ref ReadOnlySpan<byte> bytes)
    {
        Assert.True(bytes.Length >= 20, "A reply to an option ends within its header.");
        Assert.Equal(0x0003e889045565a9u, BinaryPrimitives.ReadUInt64BigEndian(bytes));
        int lengthBytes = (int)BinaryPrimitives.ReadUInt32BigEndian(bytes[16..]);
        Assert.InRange(lengthBytes, 0, bytes.Length - 20);
        OptionAnswer answer = new(
            BinaryPrimitives.ReadUInt32BigEndian(bytes[8..]),
            (OptionReply)BinaryPrimitives.ReadUInt32BigEndian(bytes[12..]),
            bytes.Slice(20, lengthBytes).ToArray());
        bytes = bytes[(20 + lengthBytes)..];
        return answer;
    }
}
