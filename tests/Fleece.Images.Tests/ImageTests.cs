// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Block;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>Telling formats apart, creating, describing.</summary>
public sealed class ImageTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("disk.qcow2", ImageFormat.Qcow2)]
    [InlineData("disk.QCOW2", ImageFormat.Qcow2)]
    [InlineData("disk.qcow", ImageFormat.Qcow2)]
    [InlineData("disk.vhd", ImageFormat.Vhd)]
    [InlineData("disk.VHDX", ImageFormat.Vhdx)]
    [InlineData("disk.avhdx", ImageFormat.Vhdx)]
    [InlineData("disk.img", ImageFormat.Raw)]
    [InlineData("disk", ImageFormat.Raw)]
    public void A_new_files_format_follows_its_extension(string name, ImageFormat expected) =>
        Assert.Equal(expected, Image.FormatForNewFile(name));

    [Theory]
    [InlineData("disk.vmdk")]
    [InlineData("disk.vdi")]
    public void New_files_of_formats_that_are_not_written_are_refused_by_name(string name)
    {
        BlockException failure = Assert.Throws<BlockException>(() => Image.FormatForNewFile(name));
        Assert.Equal(BlockErrorKind.Unsupported, failure.Kind);
        Assert.Contains(name.Split('.')[1].ToUpperInvariant(), failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ImageFormat.Raw, null)]
    [InlineData(ImageFormat.Qcow2, 65536, 3)]
    [InlineData(ImageFormat.Vhdx, 32 << 20, 1)]
    public async Task A_created_image_is_opened_and_described(ImageFormat format, int? blockBytes, int? version = null)
    {
        string path = _folder.File($"disk.{format}");
        await Image.CreateAsync(path, new ImageCreateOptions { Format = format, SizeBytes = 1 << 20 });

        ImageInfo info = await Image.GetInfoAsync(path, null, CancellationToken.None);
        Assert.Equal(format, info.Format);
        Assert.Equal(path, info.Path);
        Assert.Equal(1 << 20, info.SizeBytes);
        Assert.Equal(new FileInfo(path).Length, info.FileSizeBytes);
        Assert.Equal(blockBytes, info.BlockSizeBytes);
        Assert.Equal(version, info.FormatVersion);
        Assert.False(info.IsDirty);
        (IBlockNode node, ImageFormat told) = await Image.OpenAsync(path, new ImageOpenOptions());
        await using IBlockNode owned = node;
        Assert.Equal(format, told);
        Assert.Equal(1 << 20, node.Geometry.LengthBytes);
        Assert.False(node.Geometry.IsReadOnly);
    }

    [Theory]
    [InlineData(ImageFormat.Raw, 0, null, BlockErrorKind.EmptyImage)]
    [InlineData(ImageFormat.Raw, 513, null, BlockErrorKind.BadImageSize)]
    [InlineData(ImageFormat.Raw, 512, 512, BlockErrorKind.InvalidArgument)]
    [InlineData(ImageFormat.Qcow2, 0, null, BlockErrorKind.EmptyImage)]
    [InlineData(ImageFormat.Qcow2, -512, null, BlockErrorKind.BadImageSize)]
    [InlineData(ImageFormat.Qcow2, 1000, null, BlockErrorKind.BadImageSize)]
    [InlineData(ImageFormat.Qcow2, 512, 1000, BlockErrorKind.InvalidArgument)]
    [InlineData(ImageFormat.Qcow2, 512, 256, BlockErrorKind.InvalidArgument)]
    [InlineData(ImageFormat.Qcow2, 512, 4 << 20, BlockErrorKind.InvalidArgument)]
    [InlineData(ImageFormat.Qcow2, 1L << 40, 512, BlockErrorKind.InvalidArgument)]
    [InlineData(ImageFormat.Qcow2, (1L << 62), 65536, BlockErrorKind.InvalidArgument)]
    [InlineData(ImageFormat.Vhdx, 0, null, BlockErrorKind.EmptyImage)]
    [InlineData(ImageFormat.Vhdx, 1000, null, BlockErrorKind.BadImageSize)]
    [InlineData(ImageFormat.Vhdx, 512, 65536, BlockErrorKind.InvalidArgument)]
    [InlineData(ImageFormat.Vhdx, 512, 3 << 20, BlockErrorKind.InvalidArgument)]
    [InlineData(ImageFormat.Vhdx, 512, 512 << 20, BlockErrorKind.InvalidArgument)]
    [InlineData(ImageFormat.Vhdx, (64L << 40) + 512, null, BlockErrorKind.InvalidArgument)]
    public async Task A_creation_that_fails_leaves_no_file(
        ImageFormat format, long sizeBytes, int? clusterBytes, BlockErrorKind kind)
    {
        string path = _folder.File("disk");

        await Images.FailsAsync(kind, () => Image.CreateAsync(
            path,
            new ImageCreateOptions { Format = format, SizeBytes = sizeBytes, BlockSizeBytes = clusterBytes }).AsTask());

        Assert.False(File.Exists(path));
    }

    [Theory]
    [InlineData(ImageFormat.Raw)]
    [InlineData(ImageFormat.Qcow2)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task What_exists_is_not_overwritten(ImageFormat format)
    {
        string path = _folder.File("disk");
        File.WriteAllText(path, "mine");

        await Images.FailsAsync(BlockErrorKind.AlreadyExists, () => Image.CreateAsync(
            path, new ImageCreateOptions { Format = format, SizeBytes = 512 }).AsTask());

        Assert.Equal("mine", File.ReadAllText(path));
    }

    [Theory]
    [InlineData("KDMV", 0, "VMDK")]
    [InlineData("COWD", 0, "VMDK")]
    [InlineData("# Disk DescriptorFile", 0, "VMDK")]
    [InlineData("\u007f\u0010\u00da\u00be", 64, "VDI")]
    [InlineData("QFI\u00fb\0\0\0\u0001", 0, "qcow (version 1)")]
    public async Task Foreign_formats_are_refused_by_name_unless_raw_was_asked_for(string magic, int at, string name)
    {
        byte[] content = new byte[4096];
        Encoding.Latin1.GetBytes(magic).CopyTo(content, at < 0 ? content.Length + at : at);
        string path = _folder.File("disk.bin");
        File.WriteAllBytes(path, content);

        BlockException failure = await OpenFailsAsync(BlockErrorKind.Unsupported, path, null);
        Assert.Contains($"a {name} image", failure.Message, StringComparison.Ordinal);
        await OpenFailsAsync(BlockErrorKind.Unsupported, path, ImageFormat.Qcow2);
        (IBlockNode node, ImageFormat told) =
            await Image.OpenAsync(path, new ImageOpenOptions { Format = ImageFormat.Raw, IsReadOnly = true });
        await node.DisposeAsync();
        Assert.Equal(ImageFormat.Raw, told);
        Assert.Equal(content, File.ReadAllBytes(path));
    }

    [Theory]
    [InlineData("disk.raw")]
    [InlineData("disk.IMG")]
    public async Task A_raw_name_over_qcow2_bytes_must_be_settled_by_the_caller(string name)
    {
        string path = _folder.File(name);
        await Images.CreateFileAsync(path, 1 << 20);

        BlockException failure = await OpenFailsAsync(BlockErrorKind.AmbiguousFormat, path, null);
        Assert.Contains("-Format", failure.Message, StringComparison.Ordinal);
        foreach (ImageFormat format in new[] { ImageFormat.Raw, ImageFormat.Qcow2 })
        {
            (IBlockNode node, ImageFormat told) = await Image.OpenAsync(path, new ImageOpenOptions { Format = format, IsReadOnly = true });
            await node.DisposeAsync();
            Assert.Equal(format, told);
        }
    }

    [Fact]
    public async Task Raw_bytes_are_no_qcow2()
    {
        string path = _folder.File("disk.qcow2");
        File.WriteAllBytes(path, new byte[512]);

        await OpenFailsAsync(BlockErrorKind.WrongFormat, path, ImageFormat.Qcow2);
    }

    [Theory]
    [InlineData(0, BlockErrorKind.EmptyImage)]
    [InlineData(513, BlockErrorKind.BadImageSize)]
    public async Task Raw_files_need_whole_sectors(int lengthBytes, BlockErrorKind kind)
    {
        string path = _folder.File("disk.raw");
        File.WriteAllBytes(path, new byte[lengthBytes]);

        await OpenFailsAsync(kind, path, null);
        await Images.FailsAsync(kind, () => Image.GetInfoAsync(path, null, CancellationToken.None).AsTask());
    }

    [Fact]
    public async Task Missing_files_and_folders_are_told_apart()
    {
        await OpenFailsAsync(BlockErrorKind.NotFound, _folder.File("none"), null);
        await OpenFailsAsync(BlockErrorKind.NotAFile, _folder.Path, null);
    }

    private static Task<BlockException> OpenFailsAsync(BlockErrorKind kind, string path, ImageFormat? format) =>
        Images.FailsAsync(kind, () => Image.OpenAsync(path, new ImageOpenOptions { Format = format }).AsTask());
}
