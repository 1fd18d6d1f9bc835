// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Security.Cryptography;
using Fleece.Block;
using Xunit;

namespace Fleece.TestKit;

/// <summary>Random choices that a printed seed repeats.</summary>
/// <remarks>
/// <para>The seed comes from the environment variable FLEECE_SEED, or from chance, and is written to the test's output,
/// which a failing test shows. The generator is SplitMix64, so a seed means the same everywhere.</para>
/// <para>Threading. Not safe for concurrent use; <see cref="Fork"/> one for each thread.</para>
/// </remarks>
public sealed class Seeds
{
    private ulong _state;

    /// <summary>Starts from a seed.</summary>
    public Seeds(ulong seed)
    {
        Seed = seed;
        _state = seed;
    }

    /// <summary>What this generator started from.</summary>
    public ulong Seed { get; }

    /// <summary>Starts from FLEECE_SEED, or from chance, and prints the seed.</summary>
    public static Seeds FromEnvironment()
    {
        string? text = Environment.GetEnvironmentVariable("FLEECE_SEED");
        ulong seed = string.IsNullOrEmpty(text)
            ? BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong)))
            : ulong.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);
        TestContext.Current.TestOutputHelper?.WriteLine($"Repeat this run with FLEECE_SEED={seed}");
        return new Seeds(seed);
    }

    /// <summary>A generator of its own for a thread or a double, determined by this one's seed.</summary>
    public Seeds Fork() => new(NextBits());

    /// <summary>64 random bits.</summary>
    public ulong NextBits()
    {
        ulong bits = _state += 0x9E3779B97F4A7C15;
        bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9;
        bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB;
        return bits ^ (bits >> 31);
    }

    /// <summary>From 0 up to and without the bound.</summary>
    public int Next(int bound) => (int)Next((long)bound);

    /// <summary>From 0 up to and without the bound.</summary>
    public long Next(long bound)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(bound, 1);
        return (long)(((UInt128)NextBits() * (ulong)bound) >> 64);
    }

    /// <summary>True in that many of a hundred cases.</summary>
    public bool Chance(int percent) => Next(100) < percent;

    /// <summary>One of the choices.</summary>
    public T Pick<T>(params ReadOnlySpan<T> choices) => choices[Next(choices.Length)];

    /// <summary>Random bytes, none of them zero, so that content is never mistaken for a hole.</summary>
    public byte[] Bytes(long lengthBytes)
    {
        byte[] bytes = new byte[lengthBytes];
        for (int i = 0; i < bytes.Length; i++)
        {
            bytes[i] = (byte)(1 + (NextBits() >> 32) % 255);
        }

        return bytes;
    }

    /// <summary>A range within a disk: mostly short, often at awkward places, sometimes all of it.</summary>
    public BlockRange Range(long diskLengthBytes, int alignmentBytes = 1)
    {
        if (diskLengthBytes < alignmentBytes)
        {
            return default;
        }

        long unitBytes = Math.Max(alignmentBytes, Pick<int>(1, 512, 4096, 65536));
        long startBytes = Next(diskLengthBytes / unitBytes + 1) * unitBytes;
        long lengthBytes = Pick<long>(
            unitBytes, unitBytes - 1, unitBytes + 1, Next(20_000L), Next(200_000L), 0, diskLengthBytes);
        startBytes = Math.Min(Chance(20) ? Math.Max(0, startBytes - 1) : startBytes, diskLengthBytes);
        startBytes -= startBytes % alignmentBytes;
        lengthBytes = Math.Min(lengthBytes, diskLengthBytes - startBytes);
        return new BlockRange(startBytes, lengthBytes - lengthBytes % alignmentBytes);
    }
}
