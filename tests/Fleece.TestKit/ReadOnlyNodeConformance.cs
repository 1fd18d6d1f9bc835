// SPDX-License-Identifier: MIT
using Fleece.Block;
using Xunit;

namespace Fleece.TestKit;

/// <summary>What every node that refuses changes must do; a test class per such node derives from it.</summary>
public abstract class ReadOnlyNodeConformance
{
    private const int DiskBytes = 256 * 1024;

    /// <summary>A read-only node that holds these bytes.</summary>
    protected abstract ValueTask<IBlockNode> CreateAsync(byte[] content);

    [Fact]
    public async Task It_says_that_it_is_read_only()
    {
        await using IBlockNode node = await CreateAsync(new byte[DiskBytes]);

        Assert.True(node.Geometry.IsReadOnly);
        Assert.Equal(DiskBytes, node.Geometry.LengthBytes);
    }

    [Fact]
    public async Task It_refuses_every_change_and_keeps_its_content()
    {
        byte[] content = Seeds.FromEnvironment().Bytes(DiskBytes);
        await using IBlockNode node = await CreateAsync(content);

        await RefusesAsync(() => node.WriteAsync(0, new byte[4096], WriteFlags.None, CancellationToken.None));
        await RefusesAsync(
            () => node.WriteAsync(0, new byte[4096], WriteFlags.ForceUnitAccess, CancellationToken.None));
        await RefusesAsync(() => node.WriteZeroesAsync(0, DiskBytes, WriteFlags.None, CancellationToken.None));
        await RefusesAsync(() => node.DiscardAsync(0, DiskBytes, CancellationToken.None));

        byte[] read = new byte[DiskBytes];
        await node.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal(content, read);
    }

    [Fact]
    public async Task It_takes_a_flush()
    {
        await using IBlockNode node = await CreateAsync(new byte[DiskBytes]);

        await node.FlushAsync(CancellationToken.None);
    }

    [Fact]
    public async Task It_refuses_reads_beyond_the_end()
    {
        await using IBlockNode node = await CreateAsync(new byte[DiskBytes]);

        BlockException exception = await Assert.ThrowsAsync<BlockException>(
            async () => await node.ReadAsync(DiskBytes - 4096, new byte[8192], CancellationToken.None));

        Assert.Equal(BlockErrors.OutOfRange, exception.Kind);
    }

    [Fact]
    public async Task Its_status_covers_the_disk_and_calls_no_data_zero()
    {
        byte[] content = new byte[DiskBytes];
        Seeds.FromEnvironment().Bytes(65536).CopyTo(content, 65536);
        ReferenceDisk disk = new(DiskBytes);
        disk.Write(0, content);
        await using IBlockNode node = await CreateAsync(content);

        await disk.CheckStatusAsync(node);
    }

    private static async Task RefusesAsync(Func<ValueTask> operation)
    {
        BlockException exception = await Assert.ThrowsAsync<BlockException>(async () => await operation());
        Assert.Equal(BlockErrors.ReadOnly, exception.Kind);
    }
}
