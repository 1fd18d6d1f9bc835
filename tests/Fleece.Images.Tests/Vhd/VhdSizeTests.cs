// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Fleece.Block;
using Fleece.Images.Vhd;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhd;

/// <summary>The size of disks whose geometry and current size differ, which depends on the program that made them.</summary>
/// <remarks>libvhdi is the second reader: QEMU before 9.2.2 cuts the disks of creators that it does not know.</remarks>
public sealed class VhdSizeTests : IDisposable
{
    private const long CurrentBytes = 67_108_864;
    private const long GeometryBytes = 67_055_616;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("wa\0\0")]
    [InlineData("vbox")]
    [InlineData("SIMH")]
    [InlineData("vs  ")]
    [InlineData("dutl")]
    [InlineData("\0\0\0\0")]
    [InlineData("win ")]
    [InlineData("xyz ")]
    public async Task A_disk_of_any_other_creator_has_its_current_size(string creator)
    {
        foreach (VhdDiskType type in (VhdDiskType[])[VhdDiskType.Fixed, VhdDiskType.Dynamic])
        {
            string path = await MakeAsync(type, creator, VhdGeometry.ForSectors(CurrentBytes / 512));

            Assert.Equal(CurrentBytes, (await Image.GetInfoAsync(path, ImageFormat.Vhd, CancellationToken.None)).SizeBytes);
            await using IBlockNode node = await VhdImages.OpenAsync(path, isReadOnly: true);
            Assert.Equal(CurrentBytes, node.Geometry.LengthBytes);
            await CheckWithLibvhdiAsync(path);
        }
    }

    [Theory]
    [InlineData("vpc ")]
    [InlineData("qemu")]
    public async Task A_disk_of_Virtual_PC_or_of_old_QEMU_has_the_size_of_its_geometry(string creator)
    {
        string path = await MakeAsync(VhdDiskType.Dynamic, creator, VhdGeometry.ForSectors(CurrentBytes / 512));

        await using IBlockNode node = await VhdImages.OpenAsync(path, isReadOnly: true);
        Assert.Equal(GeometryBytes, node.Geometry.LengthBytes);
    }

    // 131 cylinders of 16 heads with 63 sectors are 67,608,576 bytes, more than the disk has.
    [Theory]
    [InlineData("SIMH", 131, 16, 63)]
    [InlineData("vpc ", 131, 16, 63)]
    [InlineData("xyz ", 0, 0, 0)]
    [InlineData("vpc ", 0, 0, 0)]
    public async Task A_geometry_that_is_rounded_up_or_empty_leaves_the_size_to_the_footer(
        string creator, int cylinders, int heads, int sectorsPerTrack)
    {
        foreach (VhdDiskType type in (VhdDiskType[])[VhdDiskType.Fixed, VhdDiskType.Dynamic])
        {
            string path = await MakeAsync(type, creator, new VhdGeometry(cylinders, heads, sectorsPerTrack));

            await using IBlockNode node = await VhdImages.OpenAsync(path, isReadOnly: true);
            Assert.Equal(CurrentBytes, node.Geometry.LengthBytes);
        }
    }

    [Fact]
    public async Task The_last_sectors_of_a_disk_of_Azure_are_read_and_written()
    {
        string path = await MakeAsync(VhdDiskType.Fixed, "wa\0\0", VhdGeometry.ForSectors(CurrentBytes / 512));
        byte[] written = new Seeds(3).Bytes(512);
        await using (IBlockNode node = await VhdImages.OpenAsync(path))
        {
            await node.WriteAsync(CurrentBytes - 512, written, WriteFlags.None, CancellationToken.None);
        }

        byte[] file = await File.ReadAllBytesAsync(path);
        Assert.Equal(CurrentBytes + 512, file.Length);
        Assert.Equal(written, file[^1024..^512]);
    }

    private static async Task CheckWithLibvhdiAsync(string path)
    {
        if ((await Peer.TryRunAsync("python3", "-c", "import pyvhdi")).ExitCode == 0)
        {
            string size = await Peer.RunAsync(
                "python3", "-c", "import pyvhdi, sys; f = pyvhdi.file(); f.open(sys.argv[1]); print(f.get_media_size())", path);
            Assert.Equal(CurrentBytes, long.Parse(size, CultureInfo.InvariantCulture));
        }
    }

    private async Task<string> MakeAsync(VhdDiskType type, string creator, VhdGeometry geometry)
    {
        byte[] image = VhdImages.Empty(type, CurrentBytes);
        VhdImages.PatchFooters(image, footer =>
        {
            Encoding.Latin1.GetBytes(creator).CopyTo(footer, 28);
            BinaryPrimitives.WriteUInt16BigEndian(footer.AsSpan(56), (ushort)geometry.Cylinders);
            footer[58] = (byte)geometry.Heads;
            footer[59] = (byte)geometry.SectorsPerTrack;
        });
        string path = _folder.NewFile(".vhd");
        await File.WriteAllBytesAsync(path, image);
        return path;
    }
}
