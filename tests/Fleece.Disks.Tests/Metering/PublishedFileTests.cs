// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Block;
using Fleece.Disks.Metering;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Metering;

/// <summary>Small files that are read while several processes write them.</summary>
public sealed class PublishedFileTests : IDisposable
{
    private const UnixFileMode Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherRead;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Writers_at_once_disturb_neither_each_other_nor_a_reader()
    {
        string path = _folder.File("fleece.prom");
        byte[][] contents = [[.. Enumerable.Repeat((byte)'a', 5000)], [.. Enumerable.Repeat((byte)'b', 9000)]];
        PublishedFile.Write(path, contents[0], Mode);
        Task[] writing = [.. contents.Select(content => Task.Run(() =>
        {
            for (int i = 0; i < 200; i++)
            {
                PublishedFile.Write(path, content, Mode);
            }
        }))];

        while (!writing.All(writer => writer.IsCompleted))
        {
            byte[] read = await File.ReadAllBytesAsync(path);
            Assert.Contains(contents, content => content.AsSpan().SequenceEqual(read));
        }

        await Task.WhenAll(writing);
        Assert.Equal([path], Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void A_file_has_the_rights_that_were_asked_for()
    {
        string path = _folder.File("fleece.prom");

        PublishedFile.Write(path, "text"u8, Mode);

        Assert.True(OperatingSystem.IsWindows() || File.GetUnixFileMode(path) == Mode);
    }

    [Fact]
    public void A_folder_in_the_place_of_the_file_is_refused_by_its_name_and_nothing_is_left()
    {
        string path = Directory.CreateDirectory(_folder.File("fleece.prom")).FullName;

        BlockException failure = Refused(BlockErrors.NotAFile, () => PublishedFile.Write(path, "text"u8, Mode));

        Assert.Contains($"'{path}': it is a folder", failure.Message, StringComparison.Ordinal);
        Assert.Equal([path], Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void A_folder_that_is_not_there_is_told_with_the_name_of_the_file_that_was_meant()
    {
        string path = Path.Combine(_folder.Path, "nowhere", "fleece.prom");

        BlockException failure = Refused(BlockErrors.NotFound, () => PublishedFile.Write(path, "text"u8, Mode));

        Assert.Contains($"Cannot write '{path}'", failure.Message, StringComparison.Ordinal);
        Assert.Equal(path, failure.Path);
    }

    [Fact]
    public void A_full_file_system_keeps_the_old_file_and_nothing_beside_it()
    {
        using MountedFolder full = new("tmpfs", "size=64k");
        Assert.SkipWhen(full.SkipReason is not null, full.SkipReason ?? string.Empty);
        string path = full.NewFile();
        PublishedFile.Write(path, "old"u8, Mode);

        BlockException failure = Refused(BlockErrors.NoSpace, () => PublishedFile.Write(path, new byte[128 * 1024], Mode));

        Assert.Contains($"Cannot write '{path}'", failure.Message, StringComparison.Ordinal);
        Assert.Equal("old", File.ReadAllText(path));
        Assert.Equal([path], Directory.GetFileSystemEntries(full.Path));
    }

    [Theory]
    [InlineData(255)]
    [InlineData(240)]
    public void A_long_name_is_written_like_any_other(int nameBytes)
    {
        string path = _folder.File(new string('n', nameBytes));

        PublishedFile.Write(path, "text"u8, Mode);

        Assert.Equal("text", File.ReadAllText(path, Encoding.UTF8));
    }

    [Fact]
    public void A_name_that_is_too_long_is_refused()
    {
        BlockException failure = Refused(
            BlockErrors.InvalidArgument, () => PublishedFile.Write(_folder.File(new string('n', 256)), "text"u8, Mode));

        Assert.Contains("at most 255 bytes", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_killed_writer_of_the_same_file_left_is_removed_when_it_is_old()
    {
        string path = _folder.File("fleece.prom");
        string[] leftovers =
        [
            Leave($"fleece.prom.{Guid.NewGuid():N}.partial", PublishedFile.LeftoverAge * 2),
            Leave($"fleece.prom.{Guid.NewGuid():N}.partial", TimeSpan.Zero),
            Leave($"other.prom.{Guid.NewGuid():N}.partial", PublishedFile.LeftoverAge * 2),
            Leave("fleece.prom.mine.partial", PublishedFile.LeftoverAge * 2),
        ];

        PublishedFile.Write(path, "text"u8, Mode);

        Assert.Equal(leftovers[1..].Append(path).Order(), Directory.GetFileSystemEntries(_folder.Path).Order());
    }

    private static BlockException Refused(string kind, Action write)
    {
        BlockException refusal = Assert.Throws<BlockException>(write);
        Assert.Equal(kind, refusal.Kind);
        return refusal;
    }

    private string Leave(string name, TimeSpan age)
    {
        string path = _folder.File(name);
        File.WriteAllText(path, "left");
        File.SetLastWriteTimeUtc(path, DateTime.UtcNow - age);
        return path;
    }
}
