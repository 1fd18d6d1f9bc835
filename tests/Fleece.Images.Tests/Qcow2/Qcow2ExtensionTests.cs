// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Qcow2;
using Fleece.Images.Qcow2.Headers;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>What keeps data of its own in an image, and what of the header survives that.</summary>
public sealed class Qcow2ExtensionTests : IDisposable
{
    private const uint Unknown = 0x12345678;
    private const uint Own = 0x466c6565;
    private const int ClusterBytes = 4096;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Unknown_extensions_fields_and_the_parents_name_survive_a_new_extension()
    {
        Qemu.SkipWhenMissing();
        await File.WriteAllBytesAsync(_folder.File("base.raw"), new byte[1024 * 1024]);
        string path = _folder.File("top.qcow2");
        await File.WriteAllBytesAsync(path, WithUnknownExtension());
        byte[] stored = Seeds.FromEnvironment().Bytes(ClusterBytes);
        await using (ImageNode node = Images.Open(path))
        {
            long placeBytes = node.Qcow2().Changes!.Extensions.Allocate(3);
            node.Qcow2().Changes!.Extensions.Write(placeBytes, stored);
            await node.FlushAsync(CancellationToken.None);
            node.Qcow2().Header.SetExtension(Own, [1, 2, 3]);
            node.Qcow2().Header.SetExtension(Own, [4, 5, 6, 7, 8, 9, 10, 11, 12]);
            long first = placeBytes / ClusterBytes;
            node.Qcow2().Changes!.Extensions.Free([first, first + 1, first + 2]);
        }

        await using (ImageNode node = Images.Open(path))
        {
            Assert.Equal([1, 2, 3, 4, 5], node.Qcow2().Header.Extensions.Find(Unknown));
            Assert.Equal([4, 5, 6, 7, 8, 9, 10, 11, 12], node.Qcow2().Header.Extensions.Find(Own));
            node.Qcow2().Header.SetExtension(Own, null);
            Assert.Null(node.Qcow2().Header.Extensions.Find(Own));
        }

        ImageInfo info = await Image.GetInfoAsync(path, null, CancellationToken.None);
        Assert.Equal(_folder.File("base.raw"), info.ParentPath);
        Assert.Equal(ImageFormat.Raw, info.ParentFormat);
        Qemu.CheckClean(path);
    }

    [Fact]
    public async Task Autoclear_bits_are_cleared_before_the_first_change_but_for_those_that_are_kept_right()
    {
        byte[] image = Images.Empty(1024 * 1024, ClusterBytes);
        image[Qcow2Header.AutoclearField + 7] = 0b1101;
        MemoryContainer container = new(image);
        await using ImageNode node = Qcow2Map.Open(container);
        node.Qcow2().Header.KeepAutoclear(Qcow2Header.BitmapsBit);
        Assert.Equal(0, container.ChangeCount);

        await node.WriteAsync(0, new byte[1], WriteFlags.None, CancellationToken.None);
        Assert.Equal(0b0001, container.Content[Qcow2Header.AutoclearField + 7]);
        node.Qcow2().Header.SetAutoclear(Qcow2Header.BitmapsBit, isSet: false);
        Assert.Equal(0, container.Content[Qcow2Header.AutoclearField + 7]);
    }

    [Fact]
    public async Task An_extension_that_does_not_fit_is_refused_and_changes_nothing()
    {
        MemoryContainer container = new(Images.Empty(1024 * 1024, ClusterBytes));
        await using ImageNode node = Qcow2Map.Open(container);

        BlockException failure = Assert.Throws<BlockException>(
            () => node.Qcow2().Header.SetExtension(Own, new byte[ClusterBytes]));

        Assert.Equal(BlockErrors.InvalidArgument, failure.Kind);
        Assert.Equal(0, container.ChangeCount);
    }

    private static byte[] WithUnknownExtension()
    {
        byte[] image = Images.Empty(new Qcow2LayoutOptions
        {
            SizeBytes = 1024 * 1024,
            ClusterBits = 12,
            BackingName = "base.raw",
            BackingFormat = ImageFormat.Raw,
        });

        // The backing format's extension ends at 128 and the name begins behind the end of the list.
        byte[] name = image.AsSpan(136, 8).ToArray();
        byte[] unknown = [0x12, 0x34, 0x56, 0x78, 0, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0];
        unknown.CopyTo(image, 128);
        image.AsSpan(144, 8).Clear();
        name.CopyTo(image, 152);
        image[15] = 152;
        return image;
    }
}
