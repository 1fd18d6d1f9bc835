// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Vhdx.Structures;
using Xunit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>Changes of an image: when its headers tell of them, and how much of the log one entry takes.</summary>
public sealed class VhdxChangeTests
{
    private const int MiB = VhdxImages.MiB;
    private const int SizeBytes = 8 * MiB;

    [Fact]
    public async Task Zeroing_and_discarding_where_nothing_is_stored_leaves_the_file_as_it_was()
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        MemoryContainer container = new((byte[])image.Clone());
        ImageNode node = VhdxImages.Open(container);

        await node.WriteZeroesAsync(1000, SizeBytes - 5000, WriteFlags.ForceUnitAccess, CancellationToken.None);
        await node.DiscardAsync(0, SizeBytes, CancellationToken.None);
        await node.DisposeAsync();

        Assert.Equal(image, container.Content);
    }

    [Fact]
    public async Task Zeroing_one_stored_block_changes_both_guids()
    {
        MemoryContainer container = new(VhdxImages.Empty(SizeBytes));
        await using (ImageNode node = VhdxImages.Open(container))
        {
            await node.WriteAsync(0, new byte[] { 1 }, WriteFlags.None, CancellationToken.None);
        }

        VhdxHeader before = VhdxHeaders.Read(container).Current;
        await using (ImageNode node = VhdxImages.Open(container))
        {
            await node.WriteZeroesAsync(0, MiB, WriteFlags.None, CancellationToken.None);
        }

        VhdxHeader after = VhdxHeaders.Read(container).Current;
        Assert.NotEqual(before.FileWriteGuid, after.FileWriteGuid);
        Assert.NotEqual(before.DataWriteGuid, after.DataWriteGuid);
    }

    [Theory]
    [InlineData(1, 512 * 1024)]
    [InlineData(16, 4 * MiB)]
    [InlineData(256, 4 * MiB)]
    public void A_log_entry_takes_at_most_half_of_the_log_and_4_MiB(int logMiB, long mostBytes)
    {
        VhdxHeader header = VhdxHeaders.Read(new MemoryContainer(VhdxImages.Empty(SizeBytes))).Current;

        int pages = LogWriter.FindMaxPages(header with { LogLengthBytes = (long)logMiB * MiB });

        long entryBytes = LogEntry.DescriptorAreaBytes(pages) + (pages * VhdxFormat.PageBytes);
        Assert.InRange(entryBytes, mostBytes - (2 * VhdxFormat.PageBytes), mostBytes);
    }
}
