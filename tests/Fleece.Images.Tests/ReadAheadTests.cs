// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Qcow2;
using Fleece.Images.Tests.Vhd;
using Fleece.Images.Tests.Vhdx;
using Fleece.Images.Vhd;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>What reading ahead asks of an image's file, and of its parent.</summary>
public sealed class ReadAheadTests
{
    private const int SizeBytes = 6 * 1024 * 1024;

    [Theory]
    [InlineData(ImageFormat.Qcow2)]
    [InlineData(ImageFormat.Vhd)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task Exactly_what_a_read_takes_from_the_file_is_read_ahead(ImageFormat format)
    {
        MemoryContainer container = new(format switch
        {
            ImageFormat.Qcow2 => Images.Empty(SizeBytes, 65536),
            ImageFormat.Vhd => VhdImages.Empty(VhdDiskType.Dynamic, SizeBytes),
            _ => VhdxImages.Empty(SizeBytes),
        });
        await using ImageNode node = format switch
        {
            ImageFormat.Qcow2 => Qcow2Map.Open(container),
            ImageFormat.Vhd => VhdImages.Open(container),
            _ => VhdxImages.Open(container),
        };
        Seeds seeds = Seeds.FromEnvironment();
        foreach (int offsetBytes in (int[])[0, 300_000, 4 * 1024 * 1024 - 1000])
        {
            await node.WriteAsync(offsetBytes, seeds.Bytes(70_000), WriteFlags.None, CancellationToken.None);
        }

        const int FromBytes = 1000;
        const int LengthBytes = 5 * 1024 * 1024;
        node.ReadAhead(FromBytes, LengthBytes);
        container.Reads.Clear();
        await node.ReadAsync(FromBytes, new byte[LengthBytes], CancellationToken.None);

        Assert.NotEmpty(container.Reads);
        Assert.Equal(Joined(container.Reads), Joined(container.ReadAheads));
    }

    [Fact]
    public async Task What_an_image_does_not_store_is_read_ahead_in_its_parent()
    {
        MemoryLayer parent = new(new byte[SizeBytes / 2]);
        await using ImageNode node = Qcow2Map.Open(
            new MemoryContainer(Images.Empty(SizeBytes, 65536)), new Qcow2Attachments { Parent = new ParentImage(parent) });
        await node.WriteAsync(65536, new byte[65536], WriteFlags.None, CancellationToken.None);

        node.ReadAhead(0, SizeBytes);

        Assert.Equal([new(0, 65536), new BlockRange(131072, (SizeBytes / 2) - 131072)], Joined(parent.ReadAheads));
    }

    [Fact]
    public async Task A_compressed_cluster_is_read_ahead_where_it_is_stored()
    {
        MemoryContainer container = new(Images.Empty(SizeBytes, 65536));
        await using ImageNode node = Qcow2Map.Open(container, new Qcow2Attachments { Compression = ImageCompression.Zlib });
        await node.WriteAsync(65536, Enumerable.Repeat((byte)7, 65536).ToArray(), WriteFlags.None, CancellationToken.None);
        await node.FlushAsync(CancellationToken.None);

        node.ReadAhead(0, SizeBytes);

        BlockRange extent = Assert.Single(container.ReadAheads);
        Assert.InRange(extent.LengthBytes, 1, 4096);
    }

    private static List<BlockRange> Joined(IEnumerable<BlockRange> ranges)
    {
        List<BlockRange> joined = [];
        foreach (BlockRange range in ranges.OrderBy(range => range.OffsetBytes))
        {
            if (joined.Count != 0 && joined[^1].EndBytes >= range.OffsetBytes)
            {
                joined[^1] = BlockRange.FromEnds(joined[^1].OffsetBytes, Math.Max(joined[^1].EndBytes, range.EndBytes));
            }
            else
            {
                joined.Add(range);
            }
        }

        return joined;
    }
}
