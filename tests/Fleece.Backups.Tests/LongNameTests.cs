// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Backups.Jobs;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Backups.Tests.Repositories;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Disks.Tests;

namespace Fleece.Backups.Tests;

/// <summary>Files that are named after disks, sessions and images, where those have long names.</summary>
public sealed class LongNameTests : IAsyncDisposable
{
    private const int SizeBytes = 1024 * 1024;

    private readonly Rig _rig = new();

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    [Theory]
    [InlineData("abc", 3, "abc")]
    [InlineData("abc", 2, "ab")]
    [InlineData("éé", 3, "é")]
    [InlineData("a\U0001F600b", 4, "a")]
    [InlineData("a\U0001F600b", 5, "a\U0001F600")]
    [InlineData("", 0, "")]
    public void A_name_is_cut_between_characters(string name, int maximumBytes, string shorter) =>
        Assert.Equal(shorter, FileNames.Shorten(name, maximumBytes));

    [Theory]
    [InlineData("n", 230)]
    [InlineData("é", 115)]
    [InlineData("\U0001F600", 57)]
    public async Task A_session_of_an_image_with_a_long_name_has_temp_whatever_it_is_called(string letter, int count)
    {
        string name = string.Concat(Enumerable.Repeat(letter, count));
        Disk disk = await _rig.AddDiskAsync(name, SizeBytes);

        Session session = await Rig.StartAsync(disk, new SessionOptions { Name = name });

        Assert.True(File.Exists(session.TempPath));
        Assert.InRange(Encoding.UTF8.GetByteCount(Path.GetFileName(session.TempPath)!), 1, FileNames.MaximumBytes);
    }

    [Fact]
    public async Task A_left_temp_file_with_a_shortened_name_goes_with_the_next_mount_of_its_disk_alone()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux has locks that prove that no process uses a file.");
        string name = new('n', 200);
        Disk disk = await _rig.AddDiskAsync(name + "1", SizeBytes);
        Session session = await Rig.StartAsync(disk);
        string tempName = Path.GetFileName(session.TempPath)!;
        await disk.DisposeAsync();
        await File.WriteAllTextAsync(_rig.Folder.File(tempName), "old data");

        await _rig.AddDiskAsync(name + "2", SizeBytes);
        Assert.True(File.Exists(_rig.Folder.File(tempName)));
        await _rig.OpenAsync(disk.Path);
        Assert.False(File.Exists(_rig.Folder.File(tempName)));
    }

    [Fact]
    public async Task A_left_temp_file_with_the_whole_name_goes_too()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux has locks that prove that no process uses a file.");
        string name = new('n', 150);
        string left = _rig.Folder.File($"{name}.raw.nightly.{Guid.NewGuid():N}.fleece-temp");
        await File.WriteAllTextAsync(left, "old data");

        await _rig.AddDiskAsync(name, SizeBytes);

        Assert.False(File.Exists(left));
    }

    // 255 bytes less those of ".raw" and of ".fleece-bitmaps.new".
    [Theory]
    [InlineData(232, true)]
    [InlineData(233, false)]
    [InlineData(251, false)]
    public async Task An_image_whose_name_leaves_no_room_for_bitmaps_says_so(int length, bool hasRoom)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The limit is that of the file systems of Linux.");
        Disk disk = await _rig.AddDiskAsync(new string('n', length), SizeBytes);

        if (hasRoom)
        {
            await disk.Bitmaps.CreateAsync("daily");
            return;
        }

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(() => disk.Bitmaps.CreateAsync("daily").AsTask());
        Assert.Equal(DiskErrors.BitmapStoreUnusable, refusal.Kind);
        Assert.Contains("too long for a file beside it", refusal.Message, StringComparison.Ordinal);
        Assert.Empty(disk.Bitmaps.All);
    }

    [Theory]
    [InlineData("é", 200)]
    [InlineData("n", 1000)]
    public async Task A_repository_takes_a_disk_with_a_long_name(string letter, int count)
    {
        string name = string.Concat(Enumerable.Repeat(letter, count));
        string path = _rig.Folder.File("vm.raw");
        await File.WriteAllBytesAsync(path, _rig.Seeds.Bytes(SizeBytes));
        await using Disk disk = await Disk.OpenAsync(path, name);
        BackupJobOptions options = new() { RepositoryPath = _rig.Folder.File("backups") };

        foreach (BackupKind kind in (BackupKind[])[BackupKind.Full, BackupKind.Incremental])
        {
            await using BackupJob job = await BackupJob.StartAsync(disk, options);
            while (await job.StepAsync())
            {
            }

            Assert.Equal(kind, (await job.CompleteAsync()).Point!.Kind);
        }

        Repository repository = RepositoryReader.Read(options.RepositoryPath);
        Assert.Equal([name, name], repository.Points.Select(point => point.Disk));
        Assert.Empty((await Nightly.TestAsync(repository, repository.Points[1])).Findings);
    }
}
