// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Foreign;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>Formats that only an adapter reads; here a fake one, whose disk is the file's own bytes.</summary>
public sealed class ForeignImageTests : IDisposable
{
    private const int VdiMagicOffsetBytes = 64;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(ImageFormat.Vmdk)]
    [InlineData(ImageFormat.Vdi)]
    public async Task Without_the_adapter_the_error_names_it(ImageFormat format)
    {
        string path = Write("disk.bin", format);

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(async () => await Image.OpenAsync(path));

        Assert.Equal(BlockErrors.Unsupported, refusal.Kind);
        Assert.Contains(ForeignAdapter.ExpectedPath, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_adapter_is_loaded_apart_and_opens_the_image()
    {
        string path = Write("disk.vmdk", ImageFormat.Vmdk);
        object adapter = ForeignAdapter.Load(typeof(FakeAdapter).Assembly.Location);
        Assert.Equal(typeof(FakeAdapter).FullName, adapter.GetType().FullName);
        Assert.NotEqual(typeof(FakeAdapter), adapter.GetType());
        ForeignDriver driver = new(ImageFormat.Vmdk, () => adapter);
        LocalContainer file = new(LocalFile.Open(path, isReadOnly: true));

        await using IBlockNode node = driver.Open(file, new ImageOpenOptions { IsReadOnly = true }, new ImageChain(path, ImageDrivers.Find));

        Assert.Equal(1024, node.Geometry.LengthBytes);
    }

    [Fact]
    public void A_description_has_the_size_and_the_type_that_the_adapter_tells()
    {
        string path = Write("disk.vdi", ImageFormat.Vdi);
        using LocalContainer file = new(LocalFile.Open(path, isReadOnly: true));
        ImageInfo bare = new() { Path = path, Format = ImageFormat.Vdi, SizeBytes = 1, FileSizeBytes = 1024, AllocatedBytes = 1024 };

        ImageInfo info = new ForeignDriver(ImageFormat.Vdi, () => new FakeAdapter()).Describe(file, bare);

        Assert.Equal((1024, ImageType.Dynamic), (info.SizeBytes, info.Type));
    }

    [Fact]
    public void Writing_to_such_an_image_is_refused()
    {
        string path = Write("disk.vmdk", ImageFormat.Vmdk);
        using LocalContainer file = new(LocalFile.Open(path, isReadOnly: false));

        BlockException refusal = Assert.Throws<BlockException>(() =>
            new ForeignDriver(ImageFormat.Vmdk, () => new FakeAdapter()).Open(file, new ImageOpenOptions(), new ImageChain(path, ImageDrivers.Find)));

        Assert.Equal(BlockErrors.ReadOnly, refusal.Kind);
    }

    [Theory]
    [InlineData(ImageFormat.Vmdk)]
    [InlineData(ImageFormat.Vdi)]
    public async Task Such_an_image_is_neither_created_nor_checked_nor_a_parent(ImageFormat format)
    {
        string path = Write("disk.bin", format);
        string created = _folder.File("new.bin");

        BlockException creation = await Assert.ThrowsAsync<BlockException>(
            async () => await Image.CreateAsync(created, new ImageCreateOptions { Format = format, SizeBytes = 1024 }));
        BlockException check = await Assert.ThrowsAsync<BlockException>(
            async () => await Image.CheckAsync(path, null, Checking.ImageRepair.None, CancellationToken.None));
        BlockException child = await Assert.ThrowsAsync<BlockException>(
            async () => await Image.CreateAsync(created, new ImageCreateOptions { Format = ImageFormat.Qcow2, ParentPath = path }));

        Assert.All([creation, check, child], refusal => Assert.Equal(BlockErrors.Unsupported, refusal.Kind));
        Assert.False(File.Exists(created));
    }

    [Theory]
    [InlineData("disk.raw")]
    [InlineData("disk.img")]
    public async Task The_guest_of_a_raw_disk_cannot_make_it_such_an_image(string name)
    {
        string path = Write(name, ImageFormat.Vmdk);

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(async () => await Image.OpenAsync(path));

        Assert.Equal(ImageErrors.AmbiguousFormat, refusal.Kind);
    }

    [Fact]
    public void An_assembly_that_is_no_adapter_is_an_answer_and_not_a_crash()
    {
        Assert.IsType<TypeLoadException>(ForeignAdapter.Load(typeof(IBlockNode).Assembly.Location));
        Assert.IsAssignableFrom<IOException>(ForeignAdapter.Load(_folder.File("missing.dll")));
        string text = _folder.File("text.dll");
        File.WriteAllText(text, "no assembly");
        Assert.IsType<BadImageFormatException>(ForeignAdapter.Load(text));
    }

    private string Write(string name, ImageFormat format)
    {
        byte[] bytes = new byte[1024];
        (format == ImageFormat.Vmdk ? "KDMV"u8 : [0x7f, 0x10, 0xda, 0xbe])
            .CopyTo(bytes.AsSpan(format == ImageFormat.Vmdk ? 0 : VdiMagicOffsetBytes));
        string path = _folder.File(name);
        File.WriteAllBytes(path, bytes);
        return path;
    }
}

/// <summary>An adapter whose disks are the files' own bytes.</summary>
internal sealed class FakeAdapter : IForeignImages
{
    public ForeignImage Open(LocalFile file, ImageFormat format, Func<string, LocalFile> openNamed) =>
        new(FileNode.Over(file), ImageType.Dynamic);

    public ForeignDescription Describe(LocalFile file, ImageFormat format) => new(file.LengthBytes, ImageType.Dynamic);
}
