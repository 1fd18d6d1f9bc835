// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Vhdx.Blocks;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>Logs that other programs left: which entries count, what they make of the file, and which are refused.</summary>
public sealed class VhdxLogTests : IDisposable
{
    private const int MiB = VhdxImages.MiB;
    private const int BlockOffsetBytes = VhdxImages.BlocksOffsetBytes;
    private const int SizeBytes = 4 * MiB;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    // One entry makes block 0 present, the other changes another page: what a replay that mixes up its buffers gets wrong. QEMU 7.2
    // does not look at the tail of an entry that begins behind the wrap and replays it alone, so it is no judge of those.
    [Theory]
    [InlineData(0, true)]
    [InlineData(MiB - 4096, false)]
    [InlineData(MiB - 8192, false)]
    [InlineData(MiB - 12288, true)]
    public async Task Entries_on_different_offsets_are_all_replayed_wherever_the_log_wraps(int positionBytes, bool isJudgedByQemu)
    {
        byte[] image = WithBlock();
        CraftedLog log = new(image, positionBytes);
        log.Add(7, positionBytes, new LoggedChange(VhdxImages.BatOffsetBytes, BatPage(log)));
        log.Add(8, positionBytes, new LoggedChange(BlockOffsetBytes + 8192, Filled(0xA7)), new LoggedChange(BlockOffsetBytes, Filled(0x5C)));

        byte[] content = VhdxImages.Content(image);

        Assert.Equal(0x5C, content[0]);
        Assert.Equal(0x5C, content[4095]);
        Assert.Equal(0xEE, content[4096]);
        Assert.Equal(0xA7, content[8192]);
        Assert.Equal(0xA7, content[12287]);
        if (isJudgedByQemu)
        {
            await CheckAgainstQemuAsync(image, content);
        }
    }

    [Fact]
    public void Zero_descriptors_and_later_entries_overwrite_earlier_ones()
    {
        byte[] image = WithBlock();
        CraftedLog log = new(image);
        log.Add(1, 0, new LoggedChange(VhdxImages.BatOffsetBytes, BatPage(log)), new LoggedChange(BlockOffsetBytes, Filled(1)));
        log.Add(2, 0, new LoggedChange(BlockOffsetBytes, ZeroBytes: 3 * 4096));
        log.Add(3, 0, new LoggedChange(BlockOffsetBytes + 4096, Filled(3)));

        byte[] content = VhdxImages.Content(image);

        Assert.Equal(0, content[0]);
        Assert.Equal(3, content[4096]);
        Assert.Equal(0, content[8192]);
        Assert.Equal(0xEE, content[12288]);
    }

    [Fact]
    public void The_tail_says_where_the_replay_begins()
    {
        byte[] image = WithBlock();
        CraftedLog log = new(image);
        log.Add(1, 0, new LoggedChange(BlockOffsetBytes, Filled(1)));
        log.Add(2, log.PositionBytes, new LoggedChange(VhdxImages.BatOffsetBytes, BatPage(log)));

        Assert.Equal(0xEE, VhdxImages.Content(image)[0]);
    }

    // The last entry is torn in each way: a bit of its data, of a descriptor, of its header; an entry that was never written.
    [Theory]
    [InlineData(5000)]
    [InlineData(70)]
    [InlineData(16)]
    [InlineData(0)]
    public void A_torn_last_entry_is_as_if_it_had_not_been_written(int tornAt)
    {
        byte[] image = WithBlock();
        CraftedLog log = new(image);
        log.Add(4, 0, new LoggedChange(VhdxImages.BatOffsetBytes, BatPage(log)), new LoggedChange(BlockOffsetBytes, Filled(4)));
        int lastBytes = log.PositionBytes;
        log.Add(5, 0, new LoggedChange(BlockOffsetBytes, Filled(5)));
        image[VhdxImages.LogOffsetBytes + lastBytes + tornAt] ^= 1;

        Assert.Equal(4, VhdxImages.Content(image)[0]);
    }

    [Fact]
    public void Entries_that_do_not_follow_each_other_are_not_one_sequence()
    {
        byte[] image = WithBlock();
        CraftedLog log = new(image);
        log.Add(9, 0, new LoggedChange(VhdxImages.BatOffsetBytes, BatPage(log)), new LoggedChange(BlockOffsetBytes, Filled(9)));
        log.Add(4, 0, new LoggedChange(BlockOffsetBytes, Filled(4)));

        Assert.Equal(9, VhdxImages.Content(image)[0]);
    }

    [Fact]
    public void A_replay_makes_the_file_as_long_as_the_log_says()
    {
        byte[] image = WithBlock();
        CraftedLog log = new(image) { LastBytes = image.Length + (2 * MiB) };
        log.Add(1, 0, new LoggedChange(VhdxImages.BatOffsetBytes, BatPage(log)));
        MemoryContainer container = new(image);

        VhdxImages.Open(container);

        Assert.Equal(image.Length + (2 * MiB), container.GetLength());
    }

    [Fact]
    public async Task Opening_read_only_leaves_the_log_and_opening_for_writing_empties_it_for_good()
    {
        byte[] image = WithBlock();
        CraftedLog log = new(image);
        log.Add(1, 0, new LoggedChange(VhdxImages.BatOffsetBytes, BatPage(log)), new LoggedChange(BlockOffsetBytes, Filled(1)));
        byte[] before = (byte[])image.Clone();
        MemoryContainer readOnly = new(image, isReadOnly: true);
        byte[] sector = new byte[512];
        VhdxImages.Open(readOnly).Read(0, sector);
        Assert.Equal(1, sector[0]);
        Assert.Equal(before, readOnly.Content);
        Assert.NotEqual(Guid.Empty, VhdxImages.LogGuid(readOnly.Content));

        MemoryContainer container = new(image);
        ImageNode node = VhdxImages.Open(container);
        Assert.Equal(Guid.Empty, VhdxImages.LogGuid(container.Content));
        await node.WriteAsync(0, new byte[] { 77 }, WriteFlags.None, CancellationToken.None);
        await node.WriteAsync(3 * MiB, new byte[] { 78 }, WriteFlags.None, CancellationToken.None);
        await node.DisposeAsync();

        Assert.Equal(Guid.Empty, VhdxImages.LogGuid(container.Content));
        byte[] content = VhdxImages.Content(container.Content);
        Assert.Equal(77, content[0]);
        Assert.Equal(1, content[1]);
        Assert.Equal(78, content[3 * MiB]);
        await CheckAgainstQemuAsync(container.Content, content);
    }

    [Theory]
    [InlineData(0L)]
    [InlineData(65536L)]
    [InlineData(VhdxImages.LogOffsetBytes + 8192L)]
    [InlineData(1L << 40)]
    [InlineData(-4096L)]
    [InlineData(VhdxImages.BatOffsetBytes + 512L)]
    public void A_descriptor_with_a_wild_place_is_refused_by_name_and_nothing_is_written(long offsetBytes)
    {
        byte[] image = WithBlock();
        CraftedLog log = new(image);
        log.Add(1, 0, new LoggedChange(VhdxImages.BatOffsetBytes, BatPage(log)), new LoggedChange(offsetBytes, Filled(1)));

        BlockException failure = OpenFails(image);

        Assert.Equal(ImageErrors.Corrupt, failure.Kind);
        Assert.Contains($"file_offset {offsetBytes}", failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1L << 50)]
    [InlineData(-1L)]
    [InlineData(5000L)]
    public void A_zero_descriptor_of_a_wild_length_is_refused(long lengthBytes)
    {
        byte[] image = WithBlock();
        CraftedLog log = new(image);
        log.Add(1, 0, new LoggedChange(VhdxImages.BatOffsetBytes, ZeroBytes: lengthBytes));

        Assert.Contains($"{lengthBytes} bytes", OpenFails(image).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_log_that_zeroes_more_than_the_limit_is_refused_without_doing_it()
    {
        byte[] image = WithBlock();
        CraftedLog log = new(image) { LastBytes = 1L << 42 };
        log.Add(1, 0, new LoggedChange(BlockOffsetBytes, ZeroBytes: 1L << 40));

        Assert.Equal(BlockErrors.Unsupported, OpenFails(image).Kind);
    }

    [Fact]
    public void A_file_shorter_than_its_log_says_is_truncated()
    {
        byte[] image = WithBlock();
        CraftedLog log = new(image) { FlushedBytes = image.Length + 1 };
        log.Add(1, 0, new LoggedChange(VhdxImages.BatOffsetBytes, BatPage(log)));

        BlockException failure = OpenFails(image);

        Assert.Equal(BlockErrors.Truncated, failure.Kind);
        Assert.Contains("flushed_file_offset", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_log_that_is_named_and_holds_nothing_is_refused()
    {
        byte[] image = WithBlock();
        _ = new CraftedLog(image);

        Assert.Contains("log_guid", OpenFails(image).Message, StringComparison.Ordinal);
    }

    // Goal: the time to open is bounded. Method: every sector claims to begin an entry as long as the log.
    [Fact]
    public void A_log_full_of_headers_that_claim_all_of_it_costs_no_more_than_reading_it()
    {
        byte[] image = WithBlock();
        CraftedLog log = new(image);
        for (int i = 0; i < 256; i++)
        {
            log.Add((ulong)(i + 1), 0, new LoggedChange(VhdxImages.BatOffsetBytes, ZeroBytes: 4096));
            VhdxImages.Put(image, VhdxImages.LogOffsetBytes + (i * 4096) + 8, 4, MiB);
            VhdxImages.Put(image, VhdxImages.LogOffsetBytes + (i * 4096) + 24, 4, 8000);
        }

        OpenFails(image);
    }

    private static BlockException OpenFails(byte[] image)
    {
        BlockException failure = Assert.Throws<BlockException>(() => VhdxImages.Open(image, isReadOnly: true));
        MemoryContainer container = new(image);
        Assert.Equal(failure.Kind, Assert.Throws<BlockException>(() => VhdxImages.Open(container)).Kind);
        Assert.Equal(0, container.ChangeCount);
        return failure;
    }

    // An image with space for block 0, full of 0xEE, that no BAT entry names yet.
    private static byte[] WithBlock()
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        int lengthBytes = image.Length;
        Array.Resize(ref image, lengthBytes + MiB);
        image.AsSpan(lengthBytes).Fill(0xEE);
        return image;
    }

    private static byte[] BatPage(CraftedLog log)
    {
        byte[] page = log.Page(VhdxImages.BatOffsetBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(page, new BatEntry(BlockState.FullyPresent, BlockOffsetBytes).Value);
        return page;
    }

    private static byte[] Filled(byte value)
    {
        byte[] page = new byte[4096];
        page.AsSpan().Fill(value);
        return page;
    }

    private async Task CheckAgainstQemuAsync(byte[] image, byte[] content)
    {
        if (!Peer.Has("qemu-img"))
        {
            return;
        }

        string path = _folder.NewFile(".vhdx");
        File.WriteAllBytes(path, image);
        await Peer.RunAsync("qemu-img", "check", "-q", "-r", "all", "-f", "vhdx", path);
        await Peer.RunAsync("qemu-img", "convert", "-f", "vhdx", "-O", "raw", path, path + ".raw");
        Assert.Equal(content, File.ReadAllBytes(path + ".raw"));
    }
}
