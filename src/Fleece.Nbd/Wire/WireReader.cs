// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;

namespace Fleece.Nbd.Wire;

/// <summary>Takes numbers and strings from the front of a message; every step says whether the message still held it.</summary>
internal ref struct WireReader(ReadOnlySpan<byte> bytes)
{
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private ReadOnlySpan<byte> _rest = bytes;

    /// <summary>True when nothing is left.</summary>
    public readonly bool IsAtEnd => _rest.IsEmpty;

    public readonly ReadOnlySpan<byte> Rest => _rest;

    public bool TryTakeUInt16(out ushort value)
    {
        bool held = BinaryPrimitives.TryReadUInt16BigEndian(_rest, out value);
        _rest = held ? _rest[sizeof(ushort)..] : default;
        return held;
    }

    public bool TryTakeUInt32(out uint value)
    {
        bool held = BinaryPrimitives.TryReadUInt32BigEndian(_rest, out value);
        _rest = held ? _rest[sizeof(uint)..] : default;
        return held;
    }

    public bool TryTakeUInt64(out ulong value)
    {
        bool held = BinaryPrimitives.TryReadUInt64BigEndian(_rest, out value);
        _rest = held ? _rest[sizeof(ulong)..] : default;
        return held;
    }

    /// <summary>Bytes behind their 32-bit length.</summary>
    public bool TryTakeBytes(out ReadOnlySpan<byte> value)
    {
        bool held = TryTakeUInt32(out uint lengthBytes) && lengthBytes <= (uint)_rest.Length;
        value = held ? _rest[..(int)lengthBytes] : default;
        _rest = held ? _rest[(int)lengthBytes..] : default;
        return held;
    }

    /// <summary>A string behind its 32-bit length: at most 4096 bytes of UTF-8 without a NUL.</summary>
    public bool TryTakeString(out string value)
    {
        value = string.Empty;
        return TryTakeUInt32(out uint lengthBytes) && lengthBytes <= (uint)_rest.Length && TryTakeString((int)lengthBytes, out value);
    }

    /// <summary>A string of a known length, with the rules of <see cref="TryTakeString(out string)"/>.</summary>
    public bool TryTakeString(int lengthBytes, out string value)
    {
        value = string.Empty;
        if (lengthBytes > NbdLimits.MaximumStringBytes || lengthBytes > _rest.Length)
        {
            return false;
        }

        ReadOnlySpan<byte> text = _rest[..lengthBytes];
        _rest = _rest[lengthBytes..];
        if (text.Contains((byte)0))
        {
            return false;
        }

        try
        {
            value = Utf8.GetString(text);
            return true;
        }
        catch (DecoderFallbackException)
        {
            return false;
        }
    }
}
