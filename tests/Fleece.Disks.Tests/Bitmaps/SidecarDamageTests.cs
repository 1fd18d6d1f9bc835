// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Bitmaps.Sidecars;

namespace Fleece.Disks.Tests.Bitmaps;

/// <summary>Whatever happens to the bytes of a sidecar, its bitmaps are not trusted any more, or still hold exactly what they held.</summary>
public sealed class SidecarDamageTests
{
    private const long G = 4096;
    private const int PageBytes = 4096;
    private const int BitsPerPage = 4088 * 8;
    private const int FirstPage = 262144;
    private const int VersionField = 8;
    private const int ChecksumField = 12;

    // Four pages: the index, and three of bits.
    private const long SizeBytes = 3 * BitsPerPage * G;

    private static readonly long[] Dirty = [5, 6, BitsPerPage + 7, 2 * BitsPerPage + 8];

    [Fact]
    public async Task Zeros_in_place_of_all_bits_are_noticed()
    {
        await using Rig rig = new();
        (Disk disk, byte[] sidecar) = await MakeAsync(rig);

        sidecar.AsSpan(FirstPage).Clear();

        await RefusesAsync(rig, disk, sidecar, $"offset {FirstPage} of '{Sidecar.PathFor(disk.Path)}' does not have the checksum");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Zeros_in_place_of_one_page_are_noticed(int page)
    {
        await using Rig rig = new();
        (Disk disk, byte[] sidecar) = await MakeAsync(rig);

        sidecar.AsSpan(FirstPage + page * PageBytes, PageBytes).Clear();

        await RefusesAsync(rig, disk, sidecar, "does not have the checksum");
    }

    [Fact]
    public async Task Two_pages_that_have_changed_places_are_noticed()
    {
        await using Rig rig = new();
        (Disk disk, byte[] sidecar) = await MakeAsync(rig);

        byte[] page = sidecar[(FirstPage + PageBytes)..(FirstPage + 2 * PageBytes)];
        sidecar.AsSpan(FirstPage + 2 * PageBytes, PageBytes).CopyTo(sidecar.AsSpan(FirstPage + PageBytes));
        page.CopyTo(sidecar.AsSpan(FirstPage + 2 * PageBytes));

        await RefusesAsync(rig, disk, sidecar, "does not have the checksum");
    }

    [Fact]
    public async Task The_bits_of_another_bitmap_are_noticed()
    {
        await using Rig rig = new();
        (Disk disk, _) = await MakeAsync(rig);
        disk = await rig.OpenAsync(disk.Path);
        await disk.Bitmaps.CreateAsync("other", G);
        await disk.DisposeAsync();
        byte[] sidecar = await File.ReadAllBytesAsync(Sidecar.PathFor(disk.Path));

        // The second area begins where the first ends.
        sidecar.AsSpan(FirstPage + 4 * PageBytes, PageBytes).CopyTo(sidecar.AsSpan(FirstPage));

        await RefusesAsync(rig, disk, sidecar, "does not have the checksum");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task A_page_of_an_earlier_time_is_noticed_after_a_dismount(int page)
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await disk.Bitmaps.CreateAsync("daily", G);
        await WriteAsync(disk, 5);
        byte[] earlier = await ReadAsync(rig, disk);
        await WriteAsync(disk, 6);
        await WriteAsync(disk, BitsPerPage + 7);
        await disk.DisposeAsync();
        byte[] sidecar = await File.ReadAllBytesAsync(Sidecar.PathFor(disk.Path));

        earlier.AsSpan(FirstPage + page * PageBytes, PageBytes).CopyTo(sidecar.AsSpan(FirstPage + page * PageBytes));

        await RefusesAsync(rig, disk, sidecar, "pages of an earlier time");
    }

    // Every length up to the end of the directory, and then every sector.
    [Fact]
    public async Task A_sidecar_of_any_other_length_is_refused_or_not_trusted()
    {
        await using Rig rig = new();
        (Disk disk, byte[] sidecar) = await MakeAsync(rig);

        for (int length = 0; length < sidecar.Length; length += length < 300 ? 1 : 512)
        {
            await JudgeAsync(disk.Path, sidecar[..length], mayTrust: false, $"the first {length} bytes");
        }
    }

    [Fact]
    public async Task A_flipped_byte_of_either_directory_changes_nothing_and_one_of_both_refuses()
    {
        await using Rig rig = new();
        (Disk disk, byte[] sidecar) = await MakeAsync(rig);
        int usedBytes = BinaryPrimitives.ReadInt32LittleEndian(sidecar.AsSpan(24));
        Assert.Equal(sidecar[..usedBytes], sidecar[(FirstPage / 2)..(FirstPage / 2 + usedBytes)]);

        for (int at = 0; at < usedBytes; at++)
        {
            foreach (int[] places in (int[][])[[at], [FirstPage / 2 + at], [at, FirstPage / 2 + at]])
            {
                byte[] damaged = [.. sidecar];
                Array.ForEach(places, place => damaged[place] ^= 0x10);
                await JudgeAsync(disk.Path, damaged, mayTrust: places.Length == 1, $"byte {at} of {places.Length} flipped");
            }
        }
    }

    [Fact]
    public void A_page_with_any_flipped_byte_is_none()
    {
        byte[] page = new byte[PageBytes];
        new Random(1).NextBytes(page);
        SidecarPage.Seal(page, areaId: 7, number: 3);
        Assert.True(SidecarPage.IsSealed(page, 7, 3));
        Assert.False(SidecarPage.IsSealed(page, 6, 3) || SidecarPage.IsSealed(page, 7, 2));

        for (int at = 0; at < page.Length; at++)
        {
            page[at] ^= 0x40;
            Assert.False(SidecarPage.IsSealed(page, 7, 3));
            page[at] ^= 0x40;
        }
    }

    // A kill between the two copies: the first is of the new state, and no change has happened since.
    [Fact]
    public async Task The_newer_directory_counts_wherever_it_is()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await disk.Bitmaps.CreateAsync("daily", G);
        byte[] earlier = await ReadAsync(rig, disk);
        await disk.Bitmaps.DisableAsync("daily");
        await rig.KillAsync(disk);
        byte[] sidecar = await File.ReadAllBytesAsync(Sidecar.PathFor(disk.Path));
        foreach (int copyAt in (int[])[0, FirstPage / 2])
        {
            byte[] mixed = [.. sidecar];
            earlier.AsSpan(copyAt, FirstPage / 2).CopyTo(mixed.AsSpan(copyAt));
            await File.WriteAllBytesAsync(Sidecar.PathFor(disk.Path), mixed);

            await using Disk again = await Disk.OpenAsync(disk.Path, options: new() { IsReadOnly = true });

            Assert.Equal(BitmapState.Disabled, again.Bitmaps.Find("daily").State);
        }
    }

    [Theory]
    [InlineData(1, "without checksums")]
    [InlineData(2, "without noting the image's parents")]
    public async Task A_sidecar_of_an_older_Fleece_is_not_trusted_until_the_bitmap_is_cleared(byte version, string reason)
    {
        await using Rig rig = new();
        (Disk disk, byte[] sidecar) = await MakeAsync(rig);

        await RefusesAsync(rig, disk, AsOlder(sidecar, version), $"older Fleece kept it, {reason}");

        disk = await rig.OpenAsync(disk.Path);
        await disk.Bitmaps.ClearAsync("daily");
        await WriteAsync(disk, 9);
        disk = await rig.RemountAsync(disk);
        Assert.Equal([9], Units(disk.Bitmaps.Find("daily")));
    }

    [Fact]
    public async Task A_sidecar_of_a_newer_Fleece_is_refused_and_stays()
    {
        await using Rig rig = new();
        (Disk disk, byte[] sidecar) = await MakeAsync(rig);
        foreach (int at in (int[])[0, FirstPage / 2])
        {
            sidecar[at + VersionField] = (byte)(SidecarDirectory.Version + 1);
            Seal(sidecar.AsSpan(at));
        }

        await File.WriteAllBytesAsync(Sidecar.PathFor(disk.Path), sidecar);
        disk = await rig.OpenAsync(disk.Path);
        await WriteAsync(disk, 1);

        Assert.Contains("a newer Fleece", Assert.Single(disk.Bitmaps.Notes), StringComparison.Ordinal);
        Assert.Equal(DiskErrors.BitmapStoreUnusable, Assert.Throws<BlockException>(() => disk.Bitmaps.All).Kind);
        await disk.DisposeAsync();
        Assert.Equal(sidecar, await File.ReadAllBytesAsync(Sidecar.PathFor(disk.Path)));
    }

    [Fact]
    public async Task Room_that_another_bitmap_had_before_holds_no_bits()
    {
        await using Rig rig = new();
        (Disk disk, _) = await MakeAsync(rig);
        disk = await rig.OpenAsync(disk.Path);
        await disk.Bitmaps.ClearAsync("daily");
        await disk.Bitmaps.CreateAsync("other", G);
        await WriteAsync(disk, BitsPerPage + 1);

        await rig.KillAsync(disk);
        disk = await rig.OpenAsync(disk.Path);

        Assert.All(disk.Bitmaps.All, bitmap => Assert.Equal([BitsPerPage + 1], Units(bitmap)));
        Assert.Equal(2, disk.Bitmaps.All.Count);
    }

    [Fact]
    public async Task The_first_write_to_a_unit_allocates_nothing()
    {
        await using Rig rig = new();
        (Disk disk, _) = await MakeAsync(rig);
        disk = await rig.OpenAsync(disk.Path);
        DirtyBitmap bits = disk.Bitmaps.Find("daily").Bits;
        bits.Mark(100 * G, 1);

        long before = GC.GetAllocatedBytesForCurrentThread();
        for (long unit = 101; unit < 1000; unit += 2)
        {
            bits.Mark(unit * G, 1);
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(long.MinValue)]
    [InlineData(long.MaxValue)]
    public async Task An_impossible_time_is_not_trusted(long ticks)
    {
        await using Rig rig = new();
        (Disk disk, byte[] sidecar) = await MakeAsync(rig);

        EditDirectories(sidecar, directory => BinaryPrimitives.WriteInt64LittleEndian(directory[72..], ticks));

        await RefusesAsync(rig, disk, sidecar, "Fleece left it at an impossible time");
    }

    // The bits of a page mean other ranges then, and those behind the last one would be left out.
    [Fact]
    public async Task Bits_behind_the_last_one_are_noticed()
    {
        await using Rig rig = new();
        (Disk disk, byte[] sidecar) = await MakeAsync(rig);

        EditDirectories(sidecar, directory => directory[96 + 8] = 31);

        await RefusesAsync(rig, disk, sidecar, "bits set behind the last one");
    }

    [Theory]
    [InlineData(14)]
    [InlineData(17)]
    [InlineData(24)]
    [InlineData(30)]
    public async Task A_coarser_granularity_is_noticed(byte granularityBits)
    {
        await using Rig rig = new();
        (Disk disk, byte[] sidecar) = await MakeAsync(rig);

        EditDirectories(sidecar, directory => directory[96 + 8] = granularityBits);

        await RefusesAsync(rig, disk, sidecar, "bits set behind the last one");
    }

    [Fact]
    public async Task Two_bitmaps_of_one_name_are_refused()
    {
        await using Rig rig = new();
        (Disk disk, _) = await MakeAsync(rig);
        disk = await rig.OpenAsync(disk.Path);
        await disk.Bitmaps.CreateAsync("diary", G);
        await disk.DisposeAsync();
        byte[] sidecar = await File.ReadAllBytesAsync(Sidecar.PathFor(disk.Path));

        EditDirectories(sidecar, directory => "daily"u8.CopyTo(directory[directory.IndexOf("diary"u8)..]));

        await JudgeAsync(disk.Path, sidecar, mayTrust: false, "one name twice");
    }

    [Theory]
    [InlineData(0x00, "no name")]
    [InlineData(0xFF, "no name")]
    [InlineData(0x1B, "is none that Fleece gives")]
    [InlineData(0x0A, "is none that Fleece gives")]
    [InlineData('*', "is none that Fleece gives")]
    public async Task Bytes_that_no_name_has_are_refused_or_not_trusted(byte value, string reason)
    {
        await using Rig rig = new();
        (Disk disk, byte[] sidecar) = await MakeAsync(rig);
        EditDirectories(sidecar, directory => directory[96 + 56 + 1] = value);
        await File.WriteAllBytesAsync(Sidecar.PathFor(disk.Path), sidecar);

        disk = await rig.OpenAsync(disk.Path);

        if (reason == "no name")
        {
            Assert.False(disk.Bitmaps.IsUsable);
            return;
        }

        Assert.Contains(reason, Assert.Single(disk.Bitmaps.All).Reason, StringComparison.Ordinal);
        await disk.Bitmaps.RemoveAsync(disk.Bitmaps.All[0].Name);
    }

    // A seal that fits proves integrity alone: no value behind it may end a mount with anything but "not trusted" or a refusal.
    [Fact]
    public async Task Every_value_of_a_directory_whose_seal_fits_mounts_for_reading_and_for_writing()
    {
        await using Rig rig = new();
        (Disk disk, byte[] sidecar) = await MakeAsync(rig);
        int usedBytes = BinaryPrimitives.ReadInt32LittleEndian(sidecar.AsSpan(24));

        for (int at = 16; at < usedBytes; at++)
        {
            foreach (byte value in (byte[])[0, 1, 0x7F, 0x80, 0xFF])
            {
                if (at is >= 24 and < 28)
                {
                    continue;
                }

                byte[] edited = [.. sidecar];
                EditDirectories(edited, directory => directory[at] = value);
                foreach (bool isReadOnly in (bool[])[true, false])
                {
                    await File.WriteAllBytesAsync(Sidecar.PathFor(disk.Path), edited);
                    await using Disk mounted = await Disk.OpenAsync(disk.Path, options: new() { IsReadOnly = isReadOnly });
                    Assert.Equal(SizeBytes, mounted.SizeBytes);
                }
            }
        }
    }

    private static void EditDirectories(byte[] sidecar, DirectoryEdit edit)
    {
        foreach (int at in (int[])[0, FirstPage / 2])
        {
            Span<byte> directory = sidecar.AsSpan(at, FirstPage / 2);
            edit(directory);
            Seal(directory);
        }
    }

    private delegate void DirectoryEdit(Span<byte> directory);

    private static async Task<(Disk Disk, byte[] Sidecar)> MakeAsync(Rig rig)
    {
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await disk.Bitmaps.CreateAsync("daily", G);
        foreach (long unit in Dirty)
        {
            await WriteAsync(disk, unit);
        }

        await disk.DisposeAsync();
        return (disk, await File.ReadAllBytesAsync(Sidecar.PathFor(disk.Path)));
    }

    private static async Task WriteAsync(Disk disk, long unit) => await disk.Device.WriteAsync(unit * G, new byte[512]);

    // The disk has the sidecar locked, so it is copied by a program that asks for no lock.
    private static async Task<byte[]> ReadAsync(Rig rig, Disk disk)
    {
        TestKit.Peer.Need("cp");
        string copy = rig.Folder.File("copy");
        await TestKit.Peer.RunAsync("cp", Sidecar.PathFor(disk.Path), copy);
        return await File.ReadAllBytesAsync(copy);
    }

    private static async Task RefusesAsync(Rig rig, Disk disk, byte[] sidecar, string reason)
    {
        await File.WriteAllBytesAsync(Sidecar.PathFor(disk.Path), sidecar);
        disk = await rig.OpenAsync(disk.Path);
        Bitmap bitmap = disk.Bitmaps.Find("daily");

        Assert.Equal((BitmapState.Untrusted, 0), (bitmap.State, bitmap.DirtyBytes));
        Assert.Contains(reason, bitmap.Reason, StringComparison.Ordinal);
        Assert.Contains(reason, disk.Bitmaps.Notes[0], StringComparison.Ordinal);
        await disk.DisposeAsync();
    }

    private static async Task JudgeAsync(string imagePath, byte[] sidecar, bool mayTrust, string what)
    {
        await File.WriteAllBytesAsync(Sidecar.PathFor(imagePath), sidecar);
        await using Disk disk = await Disk.OpenAsync(imagePath, options: new() { IsReadOnly = true });
        bool isTrusted = disk.Bitmaps.IsUsable && disk.Bitmaps.Find("daily").Reason is null;
        Assert.True(isTrusted == mayTrust, what);
        if (isTrusted)
        {
            Assert.Equal(Dirty, Units(disk.Bitmaps.Find("daily")));
        }
    }

    // The header of both ends 8 bytes earlier. The entry of version 1 does so too, and has no digest.
    private static byte[] AsOlder(byte[] sidecar, byte version)
    {
        byte[] older = [.. sidecar];
        foreach (int at in (int[])[0, FirstPage / 2])
        {
            Span<byte> directory = older.AsSpan(at, FirstPage / 2);
            int usedBytes = BinaryPrimitives.ReadInt32LittleEndian(directory[24..]) - 8;
            directory.Slice(96, usedBytes - 88).CopyTo(directory[88..]);
            if (version == 1)
            {
                directory[(88 + 56)..usedBytes].CopyTo(directory[(88 + 48)..]);
                directory.Slice(88 + 28, 4).Clear();
                BinaryPrimitives.WriteInt32LittleEndian(directory[88..], usedBytes - 8 - 88);
                usedBytes -= 8;
            }

            BinaryPrimitives.WriteInt32LittleEndian(directory[24..], usedBytes);
            directory[VersionField] = version;
            Seal(directory);
        }

        return older;
    }

    private static void Seal(Span<byte> directory) => BinaryPrimitives.WriteUInt32LittleEndian(
        directory[ChecksumField..],
        Crc32C.OfSealed(directory[..BinaryPrimitives.ReadInt32LittleEndian(directory[24..])], ChecksumField));

    private static IEnumerable<long> Units(Bitmap bitmap) => bitmap.GetDirtyRanges()
        .SelectMany(range => Enumerable.Range(0, (int)(range.LengthBytes / G)).Select(i => range.OffsetBytes / G + i));
}
