// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>Which image of a chain decides a range, where QEMU is no oracle: it opens no differencing VHD or VHDX.</summary>
public sealed class AllocationDepthTests : IDisposable
{
    private const int MiB = 1024 * 1024;
    private const int SizeBytes = 16 * MiB;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(ImageFormat.Vhd, 512)]
    [InlineData(ImageFormat.Vhdx, 512)]
    [InlineData(ImageFormat.Qcow2, 65536)]
    public async Task Each_image_decides_what_it_stores_and_the_nearest_counts(ImageFormat format, int unitBytes)
    {
        string bottom = await CreateAsync("bottom", format, null, (0, MiB));
        string middle = await CreateAsync("middle", format, bottom, (2 * MiB, unitBytes), (6 * MiB, 2 * unitBytes));
        string top = await CreateAsync("top", format, middle, (6 * MiB, unitBytes), (9 * MiB, unitBytes));

        // Only a qcow2 image leaves open what no image of the chain stores.
        int elsewhere = format == ImageFormat.Qcow2 ? 0 : 3;
        Assert.Equal(
            [
                (0, 3), (MiB, elsewhere), (2 * MiB, 2), (2 * MiB + unitBytes, elsewhere),
                (6 * MiB, 1), (6 * MiB + unitBytes, 2), (6 * MiB + 2 * unitBytes, elsewhere), (9 * MiB, 1),
                (9 * MiB + unitBytes, elsewhere),
            ],
            await ProbeAsync(
                top,
                format,
                [
                    0, MiB, 2 * MiB, 2 * MiB + unitBytes, 6 * MiB, 6 * MiB + unitBytes, 6 * MiB + 2 * unitBytes, 9 * MiB,
                    9 * MiB + unitBytes,
                ]));
    }

    [Fact]
    public async Task A_vhdx_block_that_was_discarded_is_its_own()
    {
        string bottom = await CreateAsync("bottom", ImageFormat.Vhdx, null, (0, SizeBytes));
        string top = await CreateAsync("top", ImageFormat.Vhdx, bottom);
        (IBlockNode image, _) = await Image.OpenAsync(top);
        await image.WriteZeroesAsync(0, SizeBytes, WriteFlags.None, CancellationToken.None);
        await image.DisposeAsync();

        Assert.Equal([(0, 1), (SizeBytes - 512, 1)], await ProbeAsync(top, ImageFormat.Vhdx, [0, SizeBytes - 512]));
    }

    // The answers join to the whole disk, so that a walk ends; the depth at a few places is what counts.
    private static async Task<(long OffsetBytes, int Depth)[]> ProbeAsync(string path, ImageFormat format, long[] offsetsBytes)
    {
        (IBlockNode image, _) = await Image.OpenAsync(path, new ImageOpenOptions { IsReadOnly = true });
        await using IBlockNode closing = image;
        int[] depths = new int[image.Geometry.LengthBytes / 512];
        for (long atBytes = 0; atBytes < image.Geometry.LengthBytes;)
        {
            DepthRun run = await AllocationDepth.FindAsync(
                image, format, atBytes, image.Geometry.LengthBytes - atBytes, CancellationToken.None);
            Assert.InRange(run.LengthBytes, 1, image.Geometry.LengthBytes - atBytes);
            depths.AsSpan((int)(atBytes / 512), (int)(run.LengthBytes / 512)).Fill(run.Depth);
            atBytes += run.LengthBytes;
        }

        return [.. offsetsBytes.Select(offsetBytes => (offsetBytes, depths[offsetBytes / 512]))];
    }

    private async Task<string> CreateAsync(
        string name, ImageFormat format, string? parent, params (long OffsetBytes, int LengthBytes)[] writes)
    {
        string path = _folder.File($"{name}.{format.ToString().ToLowerInvariant()}");
        await Image.CreateAsync(
            path, new ImageCreateOptions { Format = format, SizeBytes = parent is null ? SizeBytes : null, ParentPath = parent });
        (IBlockNode image, _) = await Image.OpenAsync(path);
        foreach ((long offsetBytes, int lengthBytes) in writes)
        {
            byte[] data = new byte[lengthBytes];
            Array.Fill(data, (byte)1);
            await image.WriteAsync(offsetBytes, data, WriteFlags.None, CancellationToken.None);
        }

        await image.DisposeAsync();
        return path;
    }
}
