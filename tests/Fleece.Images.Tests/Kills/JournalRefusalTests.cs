// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.Logs;
using Fleece.Images.Journal;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Kills;

/// <summary>A journal that does not hold is set aside, with the reason, and never changes a byte of the image.</summary>
public sealed class JournalRefusalTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Seeds _seeds = Seeds.FromEnvironment();

    public static TheoryData<string> Formats => ["Qcow2", "Vhd", "Vhdx"];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task One_of_an_earlier_run_of_the_system_is_removed(string format)
    {
        KilledImage killed = await MakeAsync(format);
        killed.WriteJournal(WithHeader(killed.ReadJournal(), 48, Guid.NewGuid().ToByteArray()));

        await IsLostAsync(killed, "an earlier run of the system");
        Assert.False(File.Exists($"{killed.JournalPath}.set-aside"));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task One_of_another_file_is_set_aside(string format)
    {
        KilledImage killed = await MakeAsync(format);
        string copy = _folder.NewFile();
        File.Copy(killed.Path, copy);
        File.Move(copy, killed.Path, overwrite: true);
        killed.WriteJournal(killed.ReadJournal());

        await IsLostAsync(killed, "of another file");
        Assert.True(File.Exists($"{killed.JournalPath}.set-aside"));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task One_that_is_older_than_the_image_is_set_aside(string format)
    {
        KilledImage killed = await MakeAsync(format);
        File.SetLastWriteTimeUtc(killed.JournalPath, File.GetLastWriteTimeUtc(killed.Path) - TimeSpan.FromSeconds(6));
        await IsLostAsync(killed, "changed later than it");
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_copy_is_set_aside(string format)
    {
        KilledImage killed = await MakeAsync(format);
        File.Copy(killed.JournalPath, killed.JournalPath + ".copy");
        File.Move(killed.JournalPath + ".copy", killed.JournalPath, overwrite: true);
        File.SetLastWriteTimeUtc(killed.JournalPath, DateTime.UtcNow);
        await IsLostAsync(killed, "it is a copy");
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task One_of_a_newer_version_is_set_aside(string format)
    {
        KilledImage killed = await MakeAsync(format);
        killed.WriteJournal(WithHeader(killed.ReadJournal(), 8, [3, 0, 0, 0]));
        await IsLostAsync(killed, "its version is 3");
    }

    // Zeros there say of a journal without notes that its maker did not finish it.
    [Theory]
    [MemberData(nameof(Formats))]
    public async Task One_with_notes_whose_first_bytes_are_zeros_is_set_aside(string format)
    {
        KilledImage killed = await MakeAsync(format);
        byte[] journal = killed.ReadJournal();
        journal.AsSpan(0, sizeof(ulong)).Clear();
        killed.WriteJournal(journal);
        await IsLostAsync(killed, "its header is damaged");
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task One_whose_image_could_not_be_flushed_is_set_aside(string format)
    {
        KilledImage killed = await MakeAsync(format);
        byte[] journal = killed.ReadJournal();
        BinaryPrimitives.WriteUInt64LittleEndian(
            journal.AsSpan(JournalLayout.StateOffsetBytes),
            SealedWord.Encode(JournalLayout.StateOffsetBytes, (ulong)JournalState.FlushFailed));
        killed.WriteJournal(journal);
        await IsLostAsync(killed, "a flush of the image failed");
    }

    // The bytes that a note leads to may be lost then, in the system's memory too.
    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_failed_flush_has_the_journal_given_up(string format)
    {
        ImageFormat kind = Enum.Parse<ImageFormat>(format);
        string path = _folder.NewFile(JournalLayout.Extension);
        JournalOpening opening = new(ImageJournal.Create(path, kind, fileId: 1));
        bool isHeard = false;
        opening.Watch(_ => isHeard = true)(new BlockException(BlockErrors.IoFailed, "Planted.", path));

        Assert.True(isHeard);
        Assert.Contains("Planted.", opening.WhyNone, StringComparison.Ordinal);
        Assert.Equal(JournalState.FlushFailed, StoredJournal.Read(LockedFile.Read(path))!.State);
        opening.Kept!.Note(0, 4096, new byte[4], new byte[4]);
        opening.Kept.Commit();
        Assert.Empty(StoredJournal.Read(LockedFile.Read(path))!.Notes.Generations);
        opening.Kept.Remove();
    }

    // QEMU allocates what the file says is free, and those are the places that the notes are about.
    [Theory]
    [InlineData("Qcow2", "qcow2")]
    [InlineData("Vhd", "vpc")]
    [InlineData("Vhdx", "vhdx")]
    public async Task One_whose_image_QEMU_has_changed_is_set_aside(string format, string qemuFormat)
    {
        Qemu.SkipWhenMissing();
        KilledImage killed = await MakeAsync(format);
        Qemu.IoOn(killed.Path, qemuFormat, "write -P 7 0 3M");
        File.SetLastWriteTimeUtc(killed.JournalPath, DateTime.UtcNow);

        (byte[] content, string? lost) = await killed.ReadAsync();
        Assert.Contains("another program has changed the image", lost, StringComparison.Ordinal);
        Assert.False(content.AsSpan().ContainsAnyExcept((byte)7));
    }

    // The disk's second block is noted and not in the file; QEMU gives the place to the third.
    [Fact]
    public async Task One_of_a_VHD_in_which_QEMU_has_used_the_place_of_a_noted_block_is_set_aside()
    {
        Qemu.SkipWhenMissing();
        const int BlockBytes = 2 * 1024 * 1024;
        KilledImage killed = await KilledImage.MakeAsync(_folder, ImageFormat.Vhd, 3 * BlockBytes, node => node.WriteAsync(
            BlockBytes, new byte[] { 1, 2, 3 }, WriteFlags.None, CancellationToken.None));
        Qemu.IoOn(killed.Path, "vpc", "write -P 7 4M 64k");
        File.SetLastWriteTimeUtc(killed.JournalPath, DateTime.UtcNow);

        (byte[] content, string? lost) = await killed.ReadAsync();
        Assert.Contains("where another block lies too", lost, StringComparison.Ordinal);
        Assert.Equal(7, content[2 * BlockBytes]);
    }

    // The clusters that QEMU takes first are those that the notes have taken.
    [Fact]
    public async Task One_of_a_qcow2_image_in_which_QEMU_has_used_a_noted_cluster_is_set_aside()
    {
        Qemu.SkipWhenMissing();
        KilledImage killed = await KilledImage.MakeAsync(_folder, ImageFormat.Qcow2, 4 * 1024 * 1024, async node =>
        {
            await node.WriteAsync(0, new byte[] { 1 }, WriteFlags.None, CancellationToken.None);
            await node.WriteAsync(65536, new byte[] { 2 }, WriteFlags.None, CancellationToken.None);
        });
        Qemu.Io(killed.Path, "write -P 7 1M 64k");
        File.SetLastWriteTimeUtc(killed.JournalPath, DateTime.UtcNow);

        (byte[] content, string? lost) = await killed.ReadAsync();
        Assert.Contains("another program has changed the image", lost, StringComparison.Ordinal);
        Assert.Equal(7, content[1024 * 1024]);
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task One_that_its_maker_did_not_finish_says_nothing(string format)
    {
        KilledImage killed = await MakeAsync(format);
        foreach (int lengthBytes in (int[])[0, 100, JournalLayout.FileBytes])
        {
            killed.WriteJournal(new byte[lengthBytes]);
            Assert.Null((await killed.ReadAsync()).Lost);
        }
    }

    // Every second byte of the header, beginning with one or the other, and some of the notes; each flip is a journal that does not hold, or
    // one that says the same as before.
    [Theory]
    [MemberData(nameof(Formats))]
    public async Task One_with_any_byte_damaged_changes_no_byte_of_the_disk(string format)
    {
        KilledImage killed = await MakeAsync(format);
        byte[] journal = killed.ReadJournal();
        byte[] flushed = await WithoutJournalAsync(killed);
        int regionBytes = JournalLayout.RegionBytes(journal.Length);
        int endBytes = JournalLayout.RegionOffsetBytes(1, regionBytes) + 64;
        int lostCount = 0;
        int first = _seeds.Next(2);
        List<int> places = [.. Enumerable.Range(0, 100).Select(i => first + (2 * i))];
        places.AddRange(Enumerable.Range(0, 40).Select(_ => JournalLayout.HeaderBytes + _seeds.Next(400)));
        places.AddRange(Enumerable.Range(0, 40).Select(_ => endBytes - 64 + _seeds.Next(2000)));
        foreach (int place in places)
        {
            byte[] damaged = (byte[])journal.Clone();
            damaged[place] ^= (byte)(1 << _seeds.Next(8));
            killed.WriteJournal(damaged);
            (byte[] content, string? lost) = await killed.ReadAsync();
            lostCount += lost is null ? 0 : 1;
            Assert.True(
                content.AsSpan().SequenceEqual(lost is null ? killed.Content : flushed),
                $"byte {place} was damaged, the journal {lost ?? "holds"}; seed {_seeds.Seed}");
        }

        Assert.True(lostCount > 50, $"{lostCount}");
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task One_that_was_cut_anywhere_changes_no_byte_of_the_disk(string format)
    {
        KilledImage killed = await MakeAsync(format);
        byte[] journal = killed.ReadJournal();
        byte[] flushed = await WithoutJournalAsync(killed);
        for (int i = 0; i < 30; i++)
        {
            int lengthBytes = _seeds.Pick(_seeds.Next(300), _seeds.Next(8000), _seeds.Next(journal.Length));
            killed.WriteJournal(journal[..lengthBytes]);
            (byte[] content, string? lost) = await killed.ReadAsync();
            Assert.True(lost is not null || lengthBytes == 0, $"{lengthBytes} bytes were left, seed {_seeds.Seed}");
            Assert.True(content.AsSpan().SequenceEqual(flushed), $"{lengthBytes} bytes were left, seed {_seeds.Seed}");
        }
    }

    [Fact]
    public async Task A_new_image_has_no_journal_of_an_older_file_of_its_name()
    {
        KilledImage killed = await MakeAsync("Qcow2");
        File.Delete(killed.Path);
        await Image.CreateAsync(killed.Path, new ImageCreateOptions { Format = ImageFormat.Qcow2, SizeBytes = killed.Content.Length });

        Assert.False(File.Exists(killed.JournalPath));
        Assert.Null((await killed.ReadAsync()).Lost);
    }

    private static byte[] WithHeader(byte[] journal, int offsetBytes, ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(journal.AsSpan(offsetBytes));
        BinaryPrimitives.WriteUInt32LittleEndian(journal.AsSpan(12), JournalLayout.Checksum(journal));
        return journal;
    }

    private static async ValueTask<byte[]> WithoutJournalAsync(KilledImage killed)
    {
        killed.WriteJournal([]);
        return (await killed.ReadAsync()).Content;
    }

    // A reader leaves it alone, a writer takes it away, and the disk is what was flushed.
    private static async ValueTask IsLostAsync(KilledImage killed, string why)
    {
        (byte[] content, string? lost) = await killed.ReadAsync();
        Assert.Contains(why, lost, StringComparison.Ordinal);
        Assert.True(File.Exists(killed.JournalPath));
        Assert.False(content.AsSpan().SequenceEqual(killed.Content));
        IBlockNode node = await KilledImage.OpenAsync(killed.Path, killed.Format);
        Assert.Contains(why, ((IJournaledImage)node).LostJournal, StringComparison.Ordinal);
        Assert.True(((IJournaledImage)node).SurvivesKill);
        byte[] now = new byte[content.Length];
        await node.ReadAsync(0, now, CancellationToken.None);
        await killed.KillAsync(node);

        // Until it is settled the new journal says so too.
        node = await KilledImage.OpenAsync(killed.Path, killed.Format);
        Assert.Contains("follows one that did not hold", ((IJournaledImage)node).LostJournal, StringComparison.Ordinal);
        ((IJournaledImage)node).SettleLoss();
        await killed.KillAsync(node);
        node = await KilledImage.OpenAsync(killed.Path, killed.Format);
        Assert.Null(((IJournaledImage)node).LostJournal);
        await node.DisposeAsync();
        Assert.True(now.AsSpan().SequenceEqual(content));
        Assert.True(killed.IsClosed);
    }

    private ValueTask<KilledImage> MakeAsync(string format) => KilledImage.MakeAsync(_folder, Enum.Parse<ImageFormat>(format), _seeds);
}
