// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.TestKit;

namespace Fleece.Fuzz;

/// <summary>Makes inputs that are mostly right, so that they get far, with something wrong here and there.</summary>
internal static class Mutator
{
    // Where formats keep their headers and tables, most of the damage counts.
    private static readonly int[] Reaches = [64, 128, 512, 4096, 70_000, 300_000, int.MaxValue];

    /// <summary>Mutates one of the seeds, sometimes with a piece of another.</summary>
    public static byte[] Mutate(Seeds random, IReadOnlyList<byte[]> seeds)
    {
        byte[] bytes = (byte[])seeds[random.Next(seeds.Count)].Clone();
        for (int rest = 1 + random.Next(random.Pick(2, 4, 12)); rest > 0 && bytes.Length != 0; rest--)
        {
            bytes = MutateOnce(random, bytes, seeds);
        }

        return bytes;
    }

    private static byte[] MutateOnce(Seeds random, byte[] bytes, IReadOnlyList<byte[]> seeds)
    {
        int at = PickPlace(random, bytes);
        int length = Math.Min(bytes.Length - at, 1 + random.Next(random.Pick(8, 64, 1024)));
        switch (random.Next(12))
        {
            case 0:
                bytes[at] ^= (byte)(1 << random.Next(8));
                return bytes;
            case 1:
                bytes[at] = random.Pick<byte>(0, 1, 0x7F, 0x80, 0xFF, (byte)random.NextBits());
                return bytes;
            case 2 or 3 or 4 or 5:
                PutNumber(random, bytes, at);
                return bytes;
            case 6:
                bytes.AsSpan(at, length).Clear();
                return bytes;
            case 7:
                bytes.AsSpan(at, length).Fill(0xFF);
                return bytes;
            case 8:
                return [.. bytes.AsSpan(0, at), .. bytes.AsSpan(at + length)];
            case 9:
                return [.. bytes.AsSpan(0, at), .. bytes.AsSpan(at, length), .. bytes.AsSpan(at)];
            case 10:
                return bytes[..(random.Chance(50) ? at : random.Next(bytes.Length))];
            default:
                byte[] other = seeds[random.Next(seeds.Count)];
                int count = Math.Min(Math.Min(length, bytes.Length - at), Math.Max(0, other.Length - at));
                other.AsSpan(Math.Min(at, other.Length), count).CopyTo(bytes.AsSpan(at));
                return bytes;
        }
    }

    // Near the start, or near where something stands behind zeros: sparse files keep their tables there.
    private static int PickPlace(Seeds random, byte[] bytes)
    {
        int reach = Reaches[random.Next(Reaches.Length)];
        int from = random.Chance(50) ? 0 : random.Next(bytes.Length);
        int zeros = from == 0 ? 0 : Math.Max(0, bytes.AsSpan(from).IndexOfAnyExcept((byte)0));
        from += zeros;
        return from + random.Next(Math.Min(bytes.Length - from, reach));
    }

    // A number at the bounds of something, of either byte order, where numbers lie.
    private static void PutNumber(Seeds random, byte[] bytes, int at)
    {
        int width = random.Pick(2, 4, 8);
        at &= -width;
        if (at + width > bytes.Length)
        {
            return;
        }

        ulong value = random.Pick<ulong>(
            0, 1, ulong.MaxValue, 1UL << random.Next(64), (1UL << random.Next(64)) - 1, (ulong)bytes.Length,
            (ulong)random.Next(1024) << 9, (ulong)random.Next(64) << 16, (ulong)random.Next(16) << 20, random.NextBits());
        Span<byte> number = stackalloc byte[sizeof(ulong)];
        if (random.Chance(50))
        {
            BinaryPrimitives.WriteUInt64BigEndian(number, value);
            number[(sizeof(ulong) - width)..].CopyTo(bytes.AsSpan(at));
        }
        else
        {
            BinaryPrimitives.WriteUInt64LittleEndian(number, value);
            number[..width].CopyTo(bytes.AsSpan(at));
        }
    }
}
