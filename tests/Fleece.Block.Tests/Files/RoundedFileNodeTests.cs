// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

/// <summary>A disk of whole sectors over a file that ends within the last one, and grows when the rest of it is written.</summary>
public sealed class RoundedFileNodeConformance : BlockNodeConformance, IDisposable
{
    private readonly TempFolder _folder = new();

    protected override int DiscardUnitBytes => OperatingSystem.IsLinux() ? 4096 : 0;

    protected override bool ReportsFreedRanges => OperatingSystem.IsLinux();

    public void Dispose() => _folder.Dispose();

    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes) =>
        new(FileNode.Over(LocalFile.Create(_folder.NewFile(), lengthBytes - 471), sectorBytes: 512));
}

public sealed class RoundedFileNodeTests : IDisposable
{
    private const int FileBytes = 1001001;
    private const int DiskBytes = 1001472;

    private readonly TempFolder _folder = new();
    private readonly string _path;
    private readonly byte[] _content = new byte[DiskBytes];

    public RoundedFileNodeTests()
    {
        _path = _folder.File("odd.raw");
        Seeds.FromEnvironment().Bytes(FileBytes).CopyTo(_content, 0);
        File.WriteAllBytes(_path, _content.AsSpan(0, FileBytes));
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task The_rest_of_the_last_sector_reads_as_zeros_and_the_file_stays_as_it_is()
    {
        await using (FileNode node = Open(isReadOnly: false))
        {
            Assert.Equal(DiskBytes, node.Geometry.LengthBytes);
            await AssertHoldsAsync(node);
            await node.WriteZeroesAsync(FileBytes, DiskBytes - FileBytes, WriteFlags.None, CancellationToken.None);
            await node.DiscardAsync(FileBytes, DiskBytes - FileBytes, CancellationToken.None);
            await AssertHoldsAsync(node);
        }

        Assert.Equal(_content[..FileBytes], File.ReadAllBytes(_path));
    }

    [Fact]
    public async Task The_file_grows_when_the_rest_of_the_last_sector_is_written()
    {
        await using (FileNode node = Open(isReadOnly: false))
        {
            _content[DiskBytes - 1] = 9;
            await node.WriteAsync(DiskBytes - 1, new byte[] { 9 }, WriteFlags.ForceUnitAccess, CancellationToken.None);
            await AssertHoldsAsync(node);
        }

        Assert.Equal(_content, File.ReadAllBytes(_path));
    }

    [Fact]
    public async Task Zeroing_the_file_s_last_byte_spares_what_was_written_behind_it()
    {
        await using FileNode node = Open(isReadOnly: false);
        await node.WriteAsync(FileBytes, new byte[] { 9 }, WriteFlags.None, CancellationToken.None);
        _content[FileBytes] = 9;

        await node.WriteZeroesAsync(0, FileBytes, WriteFlags.None, CancellationToken.None);

        _content.AsSpan(0, FileBytes).Clear();
        await AssertHoldsAsync(node);
    }

    [Fact]
    public async Task Runs_end_on_sectors_before_and_after_the_file_has_grown()
    {
        await using FileNode node = Open(isReadOnly: false);
        BlockStatusRun before = await node.GetStatusAsync(0, DiskBytes, CancellationToken.None);
        BlockStatusRun tail = await node.GetStatusAsync(FileBytes, DiskBytes - FileBytes, CancellationToken.None);
        await node.WriteAsync(FileBytes, new byte[] { 9 }, WriteFlags.None, CancellationToken.None);

        BlockStatusRun after = await node.GetStatusAsync(FileBytes, DiskBytes - FileBytes, CancellationToken.None);

        Assert.Equal(new BlockStatusRun(BlockStatus.Data, DiskBytes), before);
        Assert.True(tail.ReadsAsZero || tail.Status == BlockStatus.Data);
        Assert.Equal(new BlockStatusRun(BlockStatus.Data, DiskBytes - FileBytes), after);
    }

    [Fact]
    public async Task A_hole_at_the_end_of_the_file_goes_on_to_the_end_of_the_disk()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Whether a new file is a hole is known on Linux only.");
        await using FileNode node = FileNode.Over(LocalFile.Create(_folder.File("hole.raw"), FileBytes), 512);

        BlockStatusRun run = await node.GetStatusAsync(0, DiskBytes, CancellationToken.None);

        Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, DiskBytes), run);
    }

    [Fact]
    public async Task A_file_that_is_shortened_by_another_program_is_truncated_and_not_zeros()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows lets no other program shorten an open file.");
        await using FileNode node = Open(isReadOnly: true);
        Peer.Need("truncate");
        await Peer.RunAsync("truncate", "-s", $"{FileBytes - 1}", _path);

        BlockException error = await Assert.ThrowsAsync<BlockException>(async () =>
            await node.ReadAsync(DiskBytes - 512, new byte[512], CancellationToken.None));

        Assert.Equal(BlockErrors.Truncated, error.Kind);
    }

    private FileNode Open(bool isReadOnly) => FileNode.Over(LocalFile.Open(_path, isReadOnly), sectorBytes: 512);

    private async Task AssertHoldsAsync(FileNode node)
    {
        byte[] read = new byte[DiskBytes];
        read.AsSpan().Fill(0xEE);
        await node.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal(_content, read);
    }
}
