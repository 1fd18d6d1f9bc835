// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Checking;
using Fleece.Images.Journal;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Kills;

/// <summary>The journal beside an image file: made, replayed, shown, and removed.</summary>
public sealed class JournalFileTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Seeds _seeds = Seeds.FromEnvironment();

    public static TheoryData<string> Formats => ["Qcow2", "Vhd", "Vhdx"];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task The_next_writer_has_every_acknowledged_change_in_the_image(string format)
    {
        Qemu.SkipWhenMissing();
        KilledImage killed = await MakeAsync(format);
        IBlockNode node = await KilledImage.OpenAsync(killed.Path, killed.Format);
        Assert.True(((IJournaledImage)node).SurvivesKill, ((IJournaledImage)node).WhyNot);
        Assert.Null(((IJournaledImage)node).LostJournal);
        await node.DisposeAsync();

        Assert.True(killed.IsClosed);
        string raw = _folder.NewFile();
        Qemu.Image("convert", "-f", format == "Vhd" ? "vpc" : format.ToLowerInvariant(), "-O", "raw", killed.Path, raw);
        Assert.Equal(killed.Content, (await File.ReadAllBytesAsync(raw))[..killed.Content.Length]);
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_reader_is_shown_every_acknowledged_change_and_changes_no_file(string format)
    {
        KilledImage killed = await MakeAsync(format);
        byte[] image = await File.ReadAllBytesAsync(killed.Path);
        byte[] journal = killed.ReadJournal();

        for (int i = 0; i < 2; i++)
        {
            (byte[] content, string? lost) = await killed.ReadAsync();
            Assert.Null(lost);
            Assert.True(content.AsSpan().SequenceEqual(killed.Content));
        }

        Assert.Equal(image, await File.ReadAllBytesAsync(killed.Path));
        Assert.Equal(journal, killed.ReadJournal());
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_child_reads_every_acknowledged_change_of_its_parent(string format)
    {
        KilledImage killed = await MakeAsync(format);
        string path = _folder.NewFile($".{format}".ToLowerInvariant());
        await Image.CreateAsync(path, new ImageCreateOptions { Format = killed.Format, ParentPath = killed.Path });
        await using IBlockNode child = (await Image.OpenAsync(path, new ImageOpenOptions { Format = killed.Format })).Node;
        byte[] content = new byte[killed.Content.Length];
        await child.ReadAsync(0, content, CancellationToken.None);

        Assert.True(content.AsSpan().SequenceEqual(killed.Content));
        Assert.True(File.Exists(killed.JournalPath));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_check_judges_the_image_with_the_notes_and_a_repair_replays_them(string format)
    {
        KilledImage killed = await MakeAsync(format);
        ImageReport report = await Image.CheckAsync(killed.Path, killed.Format, ImageRepair.None, CancellationToken.None);
        Assert.Equal(0, report.CorruptionCount);
        Assert.True(File.Exists(killed.JournalPath));

        report = await Image.CheckAsync(killed.Path, killed.Format, ImageRepair.Leaks, CancellationToken.None);
        Assert.Equal(0, report.CorruptionCount);
        Assert.True(killed.IsClosed);
        (byte[] content, _) = await killed.ReadAsync();
        Assert.True(content.AsSpan().SequenceEqual(killed.Content));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task An_image_is_renamed_with_its_journal(string format)
    {
        KilledImage killed = await MakeAsync(format);
        KilledImage renamed = killed with { Path = _folder.NewFile($".{format}".ToLowerInvariant()) };
        File.Move(killed.Path, renamed.Path);
        File.Move(killed.JournalPath, renamed.JournalPath);

        (byte[] content, string? lost) = await renamed.ReadAsync();
        Assert.Null(lost);
        Assert.True(content.AsSpan().SequenceEqual(killed.Content));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task The_journal_is_its_owners_alone_and_says_when_the_image_was_closed(string format)
    {
        string path = _folder.NewFile();
        await Image.CreateAsync(path, new ImageCreateOptions { Format = Enum.Parse<ImageFormat>(format), SizeBytes = 1024 * 1024 });
        IBlockNode node = await KilledImage.OpenAsync(path, Enum.Parse<ImageFormat>(format));

        string journalPath = path + JournalLayout.Extension;
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(journalPath));
        }

        await node.WriteAsync(0, new byte[10], WriteFlags.None, CancellationToken.None);
        ((IJournaledImage)node).Touch(notBeforeTicks: 0);
        ((IJournaledImage)node).SettleLoss();
        await node.DisposeAsync();
        Assert.True(new KilledImage(path, Enum.Parse<ImageFormat>(format), []).IsClosed);
        JournalOpening.RemoveClosed(path);
        Assert.False(File.Exists(journalPath));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_journal_that_is_gone_is_missed_until_that_is_settled(string format)
    {
        KilledImage killed = await MakeAsync(format);
        File.Delete(killed.JournalPath);
        for (int i = 0; i < 2; i++)
        {
            IBlockNode first = await KilledImage.OpenAsync(killed.Path, killed.Format);
            Assert.Contains("is gone", ((IJournaledImage)first).MissingJournal, StringComparison.Ordinal);
            await killed.KillAsync(first);
        }

        IBlockNode settling = await KilledImage.OpenAsync(killed.Path, killed.Format);
        Assert.NotNull(((IJournaledImage)settling).MissingJournal);
        ((IJournaledImage)settling).SettleLoss();
        await killed.KillAsync(settling);

        IBlockNode last = await KilledImage.OpenAsync(killed.Path, killed.Format);
        Assert.Null(((IJournaledImage)last).MissingJournal);
        await last.DisposeAsync();
        await using IBlockNode closed = await KilledImage.OpenAsync(killed.Path, killed.Format);
        Assert.Null(((IJournaledImage)closed).MissingJournal);
        Assert.Null(((IJournaledImage)closed).LostJournal);
    }

    [Fact]
    public async Task A_new_journal_takes_the_place_of_what_a_killed_maker_left()
    {
        KilledImage killed = await MakeAsync("Qcow2");
        await File.WriteAllTextAsync(killed.JournalPath + ".partial", "left");
        await using IBlockNode node = await KilledImage.OpenAsync(killed.Path, killed.Format);

        Assert.True(((IJournaledImage)node).SurvivesKill, ((IJournaledImage)node).WhyNot);
        Assert.False(File.Exists(killed.JournalPath + ".partial"));
    }

    [Fact]
    public async Task An_image_whose_name_leaves_no_room_for_the_extension_has_none_and_says_so()
    {
        string path = _folder.File(new string('n', 250));
        await Image.CreateAsync(path, new ImageCreateOptions { Format = ImageFormat.Qcow2, SizeBytes = 1024 * 1024 });
        await using IBlockNode node = await KilledImage.OpenAsync(path, ImageFormat.Qcow2);

        IJournaledImage journaled = (IJournaledImage)node;
        Assert.False(journaled.SurvivesKill);
        Assert.Contains("can't be made", journaled.WhyNot, StringComparison.Ordinal);
        await node.WriteAsync(0, new byte[10], WriteFlags.None, CancellationToken.None);
    }

    [Fact]
    public async Task An_image_with_an_external_data_file_has_none_and_says_so()
    {
        string path = _folder.NewFile(".qcow2");
        await Image.CreateAsync(path, new ImageCreateOptions
        {
            Format = ImageFormat.Qcow2,
            SizeBytes = 1024 * 1024,
            DataFilePath = _folder.NewFile(),
        });
        await using IBlockNode node = await KilledImage.OpenAsync(path, ImageFormat.Qcow2);

        Assert.Contains("external data file", ((IJournaledImage)node).WhyNot, StringComparison.Ordinal);
        Assert.False(File.Exists(path + JournalLayout.Extension));
    }

    [Fact]
    public async Task A_fixed_VHD_needs_none()
    {
        string path = _folder.NewFile(".vhd");
        await Image.CreateAsync(path, new ImageCreateOptions { Format = ImageFormat.Vhd, SizeBytes = 1024 * 1024, IsFixed = true });
        await using IBlockNode node = await KilledImage.OpenAsync(path, ImageFormat.Vhd);

        Assert.True(((IJournaledImage)node).SurvivesKill);
        Assert.False(File.Exists(path + JournalLayout.Extension));
    }

    [Fact]
    public async Task A_transient_image_has_none()
    {
        string path = _folder.NewFile(".qcow2");
        await Image.CreateAsync(path, new ImageCreateOptions { Format = ImageFormat.Qcow2, SizeBytes = 1024 * 1024 });
        (IBlockNode node, _) = await Image.OpenAsync(path, new ImageOpenOptions { KeepsJournal = true, IsTransient = true });
        await using (node)
        {
            Assert.False(((IJournaledImage)node).SurvivesKill);
            Assert.False(File.Exists(path + JournalLayout.Extension));
        }
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task An_image_that_is_given_up_leaves_no_notes(string format)
    {
        string path = _folder.NewFile();
        await Image.CreateAsync(path, new ImageCreateOptions { Format = Enum.Parse<ImageFormat>(format), SizeBytes = 1024 * 1024 });
        IBlockNode node = await KilledImage.OpenAsync(path, Enum.Parse<ImageFormat>(format));
        await node.WriteAsync(0, new byte[10], WriteFlags.None, CancellationToken.None);
        await Image.AbandonAsync(node);

        Assert.True(new KilledImage(path, Enum.Parse<ImageFormat>(format), []).IsClosed);
    }

    private ValueTask<KilledImage> MakeAsync(string format) => KilledImage.MakeAsync(_folder, Enum.Parse<ImageFormat>(format), _seeds);
}
