// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Fleece.Images.Qcow2.Refcounts;

/// <summary>A refcount block in memory: one cluster of refcounts as they are on disk.</summary>
/// <remarks>
/// <para>Refcounts have 2^order bits (qcow2.txt, "Host cluster management"): big-endian from 8 bits on; narrower ones
/// fill a byte from its least significant bit.</para>
/// <para>Threading. Only under the metadata lock.</para>
/// </remarks>
internal sealed class RefcountBlock(int tableIndex, long hostOffsetBytes, int clusterBytes, int order)
{
    public byte[] Bytes { get; } = new byte[clusterBytes];

    public int TableIndex { get; } = tableIndex;

    public long HostOffsetBytes { get; } = hostOffsetBytes;

    /// <summary>Set by every use, cleared by the eviction's clock hand.</summary>
    public bool IsReferenced;

    /// <summary>True while a captured copy is being written; the block can't be evicted then.</summary>
    public bool IsBeingWritten;

    public int DirtyStartBytes = int.MaxValue;

    public int DirtyEndBytes;

    public bool IsDirty => DirtyStartBytes < DirtyEndBytes;

    public int Count => (int)((long)Bytes.Length * 8 >> order);

    public ulong Get(int index)
    {
        if (order < 3)
        {
            int bit = index << order;
            return (ulong)(Bytes[bit >> 3] >> (bit & 7)) & ((1UL << (1 << order)) - 1);
        }

        ReadOnlySpan<byte> at = Bytes.AsSpan(index << (order - 3));
        return order switch
        {
            3 => at[0],
            4 => BinaryPrimitives.ReadUInt16BigEndian(at),
            5 => BinaryPrimitives.ReadUInt32BigEndian(at),
            _ => BinaryPrimitives.ReadUInt64BigEndian(at),
        };
    }

    public void Set(int index, ulong value)
    {
        int firstByte;
        int endByte;
        if (order < 3)
        {
            int bit = index << order;
            int mask = ((1 << (1 << order)) - 1) << (bit & 7);
            firstByte = bit >> 3;
            endByte = firstByte + 1;
            Bytes[firstByte] = (byte)((Bytes[firstByte] & ~mask) | (int)(value << (bit & 7)));
        }
        else
        {
            firstByte = index << (order - 3);
            endByte = firstByte + (1 << (order - 3));
            Span<byte> at = Bytes.AsSpan(firstByte, endByte - firstByte);
            switch (order)
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

        DirtyStartBytes = Math.Min(DirtyStartBytes, firstByte);
        DirtyEndBytes = Math.Max(DirtyEndBytes, endByte);
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
            if (order == 4 && (index & 3) == 0)
            {
                while (index + 4 <= end && !HasZero16(BitConverter.ToUInt64(Bytes, index * 2)))
                {
                    index += 4;
                }
            }
        }

        return -1;
    }

    public void MarkClean()
    {
        DirtyStartBytes = int.MaxValue;
        DirtyEndBytes = 0;
    }

    private static bool HasZero16(ulong word)
    {
        const ulong Ones = 0x0001_0001_0001_0001;
        return ((word - Ones) & ~word & (Ones << 15)) != 0;
    }
}
