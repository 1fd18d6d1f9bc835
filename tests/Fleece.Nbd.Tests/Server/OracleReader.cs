// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Takes numbers from the front of recorded bytes, for oracles that share no code with the engine.</summary>
internal sealed class OracleReader(byte[] bytes)
{
    private int _at;

    public int Left => bytes.Length - _at;

    public ushort U16() => BinaryPrimitives.ReadUInt16BigEndian(Take(2));

    public uint U32() => BinaryPrimitives.ReadUInt32BigEndian(Take(4));

    public ulong U64() => BinaryPrimitives.ReadUInt64BigEndian(Take(8));

    public ReadOnlySpan<byte> Take(int count)
    {
        Assert.True(count <= Left, $"{count} bytes are expected at {_at} of {bytes.Length}.");
        _at += count;
        return bytes.AsSpan(_at - count, count);
    }

    public OracleReader Part(int count) => new(Take(count).ToArray());

    /// <summary>A string behind its length; false where it does not fit or is no name.</summary>
    public bool TryName(out string name)
    {
        name = string.Empty;
        if (Left < 4)
        {
            return false;
        }

        uint length = U32();
        if (length > 4096 || length > Left)
        {
            return false;
        }

        return TryName((int)length, out name);
    }

    public bool TryName(int length, out string name)
    {
        ReadOnlySpan<byte> text = Take(length);
        name = Encoding.UTF8.GetString(text);
        return length <= 4096 && !text.Contains((byte)0) && Encoding.UTF8.GetBytes(name).AsSpan().SequenceEqual(text);
    }
}
