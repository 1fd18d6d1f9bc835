// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.TestKit;

namespace Fleece.Backups.Tests;

/// <summary>What is stored of bytes with zeros among them.</summary>
public sealed class SparseWriteTests
{
    private const int SizeBytes = 1024 * 1024;
    private const int Piece = SparseWrite.PieceBytes;

    public static TheoryData<int, int> Places => new()
    {
        { 0, SizeBytes },
        { 4096, 5 * Piece },
        { Piece - 512, Piece + 1024 },
        { 3 * Piece, Piece },
        { 100, 50 },
    };

    [Theory]
    [MemberData(nameof(Places))]
    public async Task A_target_that_reads_as_zeros_gets_every_byte_and_no_piece_of_zeros(int offsetBytes, int lengthBytes)
    {
        Seeds seeds = Seeds.FromEnvironment();
        byte[] data = HalfZero(seeds, offsetBytes, lengthBytes);
        await using RecordingNode target = new(new MemoryNode(SizeBytes));

        await SparseWrite.WriteAsync(target, offsetBytes, data, readsAsZero: true, CancellationToken.None);

        byte[] stored = new byte[lengthBytes];
        await target.ReadAsync(offsetBytes, stored, CancellationToken.None);
        Assert.Equal(data, stored);
        Assert.All(
            target.Operations.Where(operation => operation.Kind == BlockOperationKind.Write),
            write => Assert.False(IsZero(data.AsSpan((int)(write.OffsetBytes - offsetBytes), (int)write.LengthBytes)), $"seed {seeds.Seed}"));
        Assert.DoesNotContain(target.Operations, operation => operation.Kind == BlockOperationKind.WriteZeroes);
    }

    [Theory]
    [MemberData(nameof(Places))]
    public async Task A_target_that_holds_something_is_zeroed_where_zeros_come(int offsetBytes, int lengthBytes)
    {
        Seeds seeds = Seeds.FromEnvironment();
        byte[] data = HalfZero(seeds, offsetBytes, lengthBytes);
        await using MemoryNode target = new(SizeBytes);
        byte[] before = seeds.Bytes(SizeBytes);
        await target.WriteAsync(0, before, WriteFlags.None, CancellationToken.None);

        await SparseWrite.WriteAsync(target, offsetBytes, data, readsAsZero: false, CancellationToken.None);

        data.CopyTo(before, offsetBytes);
        byte[] stored = new byte[SizeBytes];
        await target.ReadAsync(0, stored, CancellationToken.None);
        Assert.Equal(before, stored);
    }

    // Every second piece is zero, as pieces lie on the disk.
    private static byte[] HalfZero(Seeds seeds, int offsetBytes, int lengthBytes)
    {
        byte[] data = seeds.Bytes(lengthBytes);
        for (int i = 0; i < lengthBytes; i++)
        {
            data[i] = (offsetBytes + i) / Piece % 2 == 1 ? (byte)0 : data[i];
        }

        return data;
    }

    private static bool IsZero(ReadOnlySpan<byte> data) => data.IndexOfAnyExcept((byte)0) < 0;
}
