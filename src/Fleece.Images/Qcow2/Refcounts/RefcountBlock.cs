// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Images.Maps;

namespace Fleece.Images.Qcow2.Refcounts;

/// <summary>A refcount block in memory: one cluster of refcounts as they are on disk.</summary>
/// <remarks>
/// <para>Refcounts have 2^order bits (qcow2.txt, "Host cluster management"): big-endian from 8 bits on; narrower ones
/// fill a byte from its least significant bit.</para>
/// <para>Its key is its index in the refcount table.</para>
/// <para>Threading. Only under the metadata lock.</para>
/// </remarks>
internal sealed class RefcountBlock : ClockEntry
{
    private readonly int _order;
    private int _changedStart = int.MaxValue;
    private int _changedEnd;

    /// <summary>A block whose refcounts are all 0.</summary>
    public RefcountBlock(int tableIndex, long hostOffsetBytes, int clusterBytes, int order)
    {
        _order = order;
        HostOffsetBytes = hostOffsetBytes;
        Bytes = new byte[clusterBytes];
        BeginFilling(tableIndex);
    }

    public byte[] Bytes { get; }

    public int TableIndex => (int)Key;

    public long HostOffsetBytes { get; }

    /// <summary>True when a refcount was set since <see cref="MarkClean"/>.</summary>
    public bool HasChanged => _changedStart < _changedEnd;

    /// <summary>Where the changed bytes go in the file.</summary>
    public long ChangedOffsetBytes => HostOffsetBytes + _changedStart;

    /// <summary>The bytes from the first changed one to the last, when any has changed.</summary>
    public ReadOnlySpan<byte> ChangedBytes => Bytes.AsSpan(_changedStart, _changedEnd - _changedStart);

    public int Count => (int)((long)Bytes.Length * 8 >> _order);

    public ulong Get(int index)
    {
        if (_order < 3)
        {
            int bit = index << _order;
            return (ulong)(Bytes[bit >> 3] >> (bit & 7)) & ((1UL << (1 << _order)) - 1);
        }

        ReadOnlySpan<byte> at = Bytes.AsSpan(index << (_order - 3));
        return _order switch
        {
            3 => at[0],
            4 => BinaryPrimitives.ReadUInt16BigEndian(at),
            5 => BinaryPrimitives.ReadUInt32BigEndian(at),
            _ => BinaryPrimitives.ReadUInt64BigEndian(at),
        };
    }

    /// <summary>Where the word of eight bytes begins that has a refcount.</summary>
    public int WordOf(int index) => (int)(((long)index << _order) / 64 * sizeof(ulong));

    public void Set(int index, ulong value)
    {
        int firstByte;
        int endByte;
        if (_order < 3)
        {
            int bit = index << _order;
            int mask = ((1 << (1 << _order)) - 1) << (bit & 7);
            firstByte = bit >> 3;
            endByte = firstByte + 1;
            Bytes[firstByte] = (byte)((Bytes[firstByte] & ~mask) | (int)(value << (bit & 7)));
        }
        else
        {
            firstByte = index << (_order - 3);
            endByte = firstByte + (1 << (_order - 3));
            Span<byte> at = Bytes.AsSpan(firstByte, endByte - firstByte);
            switch (_order)
            {
                case 3:
                    at[0] = (byte)value;
                    break;
                case 4:
                    BinaryPrimitives.WriteUInt16BigEndian(at, (ushort)value);
                    break;
                case 5:
                    BinaryPrimitives.WriteUInt32BigEndian(at, (uint)value);
                    break;
                default:
                    BinaryPrimitives.WriteUInt64BigEndian(at, value);
                    break;
            }
        }

        _changedStart = Math.Min(_changedStart, firstByte);
        _changedEnd = Math.Max(_changedEnd, endByte);
    }

    /// <summary>The first free cluster of the block from an index on, or -1.</summary>
    public int FindFree(int start, int end)
    {
        int index = start;
        while (index < end)
        {
            if (Get(index) == 0)
            {
                return index;
            }

            // Steps over what is in use a word at a time: eight bytes without a zero refcount of 16 bits in them.
            index++;
            if (_order == 4 && (index & 3) == 0)
            {
                while (index + 4 <= end && !HasZero16(BitConverter.ToUInt64(Bytes, index * 2)))
                {
                    index += 4;
                }
            }
        }

        return -1;
    }

    public override void MarkClean()
    {
        base.MarkClean();
        _changedStart = int.MaxValue;
        _changedEnd = 0;
    }

    /// <summary>Takes all bytes as changed.</summary>
    public void MarkAllChanged()
    {
        _changedStart = 0;
        _changedEnd = Bytes.Length;
    }

    private static bool HasZero16(ulong word)
    {
        const ulong Ones = 0x0001_0001_0001_0001;
        return ((word - Ones) & ~word & (Ones << 15)) != 0;
    }
}
