// SPDX-License-Identifier: MIT
using Fleece.Block;
using Xunit;

namespace Fleece.TestKit;

/// <summary>What every writable block node must do; a test class per node derives from it.</summary>
/// <remarks>docs/block-contract.md is its prose. The tests are spread over files by topic. Disks are small, so that a
/// whole one fits an array.</remarks>
public abstract partial class BlockNodeConformance
{
    private const int DiskBytes = 1024 * 1024;

    /// <summary>Ranges at which nodes like to fail: edges, sector and page sizes less and more than they are.</summary>
    public static TheoryData<long, int> AwkwardRanges => new()
    {
        { 0, 1 },
        { DiskBytes - 1, 1 },
        { 0, 511 },
        { 1, 511 },
        { 511, 2 },
        { 512, 512 },
        { 0, 513 },
        { 4095, 1 },
        { 4095, 4097 },
        { 4096, 4096 },
        { 65535, 2 },
        { 65536 - 4097, 2 * 4097 },
        { 65536, 65536 },
        { 65535, 65538 },
        { 3 * 65536 + 17, 5 * 65536 },
        { DiskBytes - 65537, 65537 },
        { 0, DiskBytes - 1 },
        { 1, DiskBytes - 1 },
        { 0, DiskBytes },
    };

    /// <summary>True when a fresh node reads as zeros.</summary>
    protected virtual bool IsZeroAtFirst => true;

    /// <summary>
    /// The unit whose whole, aligned blocks a discard turns to zeros while it keeps all other bytes; 0 when discarded
    /// bytes may each be kept or zero.
    /// </summary>
    protected virtual int DiscardUnitBytes => 0;

    /// <summary>True when a freshly discarded or zeroed whole disk answers no run of data.</summary>
    protected virtual bool ReportsFreedRanges => false;

    /// <summary>A fresh node of that size.</summary>
    protected abstract ValueTask<IBlockNode> CreateAsync(long lengthBytes);

    /// <summary>A range widened to what the node accepts.</summary>
    private static BlockRange Fit(IBlockNode node, long offsetBytes, long lengthBytes)
    {
        long maskBytes = node.Geometry.RequestAlignmentBytes - 1;
        long startBytes = offsetBytes & ~maskBytes;
        return BlockRange.FromEnds(startBytes, (offsetBytes + lengthBytes + maskBytes) & ~maskBytes);
    }

    private static async Task<byte[]> ReadAsync(IBlockNode node, BlockRange range)
    {
        byte[] bytes = GC.AllocateUninitializedArray<byte>((int)range.LengthBytes);
        bytes.AsSpan().Fill(0xEE);
        await node.ReadAsync(range.OffsetBytes, bytes, CancellationToken.None);
        return bytes;
    }

    private static async Task WriteAsync(IBlockNode node, ReferenceDisk disk, BlockRange range, Seeds seeds)
    {
        byte[] bytes = seeds.Bytes(range.LengthBytes);
        await node.WriteAsync(range.OffsetBytes, bytes, WriteFlags.None, CancellationToken.None);
        disk.Write(range.OffsetBytes, bytes);
    }

    /// <summary>A disk full of non-zero bytes, and the reference of it.</summary>
    private async Task<(IBlockNode Node, ReferenceDisk Disk)> CreateFullAsync(Seeds seeds)
    {
        IBlockNode node = await CreateAsync(DiskBytes);
        ReferenceDisk disk = new(DiskBytes);
        await WriteAsync(node, disk, new BlockRange(0, DiskBytes), seeds);
        return (node, disk);
    }
}
