// SPDX-License-Identifier: MIT
using Fleece.Block;
using Xunit;

namespace Fleece.TestKit;

/// <summary>What a disk must hold: an array of bytes, of which discarded ones may also be zero.</summary>
/// <remarks>Threading. Safe for concurrent use on ranges that do not overlap.</remarks>
public sealed class ReferenceDisk(long lengthBytes)
{
    private readonly byte[] _content = new byte[lengthBytes];
    private readonly bool[] _mayBeZero = new bool[lengthBytes];

    /// <summary>Size of the disk.</summary>
    public long LengthBytes => _content.Length;

    /// <summary>The bytes, as if no discard had done anything.</summary>
    public ReadOnlySpan<byte> Content => _content;

    /// <summary>A copy of a range, as if no discard had done anything.</summary>
    public byte[] Read(BlockRange range) => Content.Slice((int)range.OffsetBytes, (int)range.LengthBytes).ToArray();

    /// <summary>Stores bytes.</summary>
    public void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        data.CopyTo(_content.AsSpan((int)offsetBytes));
        _mayBeZero.AsSpan((int)offsetBytes, data.Length).Clear();
    }

    /// <summary>Stores zeros.</summary>
    public void WriteZeroes(BlockRange range)
    {
        _content.AsSpan((int)range.OffsetBytes, (int)range.LengthBytes).Clear();
        _mayBeZero.AsSpan((int)range.OffsetBytes, (int)range.LengthBytes).Clear();
    }

    /// <summary>From now on, until it is written again, each byte of the range may be what it was or zero.</summary>
    public void Discard(BlockRange range) =>
        _mayBeZero.AsSpan((int)range.OffsetBytes, (int)range.LengthBytes).Fill(true);

    /// <summary>Fails the test unless the bytes are what the disk may hold there.</summary>
    public void Check(long offsetBytes, ReadOnlySpan<byte> actual, string context = "")
    {
        ReadOnlySpan<byte> expected = Content.Slice((int)offsetBytes, actual.Length);
        if (expected.SequenceEqual(actual))
        {
            return;
        }

        for (int i = 0; i < actual.Length; i++)
        {
            bool isFine = actual[i] == expected[i] || (actual[i] == 0 && _mayBeZero[offsetBytes + i]);
            if (!isFine)
            {
                Assert.Fail(
                    $"Offset {offsetBytes + i} holds {actual[i]:x2}, not {expected[i]:x2} (byte {i} of " +
                    $"{actual.Length} read at {offsetBytes}). {context}");
            }
        }
    }

    /// <summary>A change was cut off: each byte holds what it held before or what the change says, and keeps that.</summary>
    public void CheckCutOff(long offsetBytes, ReadOnlySpan<byte> actual, ReadOnlySpan<byte> change)
    {
        byte[] kept = [.. Content.Slice((int)offsetBytes, actual.Length)];
        for (int i = 0; i < actual.Length; i++)
        {
            kept[i] = actual[i] == change[i] ? change[i] : kept[i];
        }

        kept.CopyTo(_content.AsSpan((int)offsetBytes));
        Check(offsetBytes, actual, "A change of the range was cut off.");
        Write(offsetBytes, actual);
    }

    /// <summary>Reads all of a node and checks it.</summary>
    public async ValueTask CheckAllAsync(IBlockNode node, string context = "")
    {
        byte[] actual = new byte[LengthBytes];
        await node.ReadAsync(0, actual, CancellationToken.None);
        Check(0, actual, context);
    }

    /// <summary>Walks a node's status and checks that what it calls zero may be zero and reads as zero.</summary>
    public async ValueTask CheckStatusAsync(IBlockNode node, string context = "")
    {
        byte[] actual = new byte[LengthBytes];
        for (long atBytes = 0; atBytes < LengthBytes;)
        {
            BlockStatusRun run = await node.GetStatusAsync(atBytes, LengthBytes - atBytes, CancellationToken.None);
            Assert.InRange(run.LengthBytes, 1, LengthBytes - atBytes);
            if (run.ReadsAsZero)
            {
                Memory<byte> part = actual.AsMemory((int)atBytes, (int)run.LengthBytes);
                Check(atBytes, part.Span, $"Status says {run}. {context}");
                part.Span.Fill(0xA5);
                await node.ReadAsync(atBytes, part, CancellationToken.None);
                Assert.False(part.Span.ContainsAnyExcept((byte)0), $"{run} at {atBytes} reads other bytes. {context}");
            }

            atBytes += run.LengthBytes;
        }
    }
}
