// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

[Collection(nameof(FileNamesTests))]
[CollectionDefinition(nameof(FileNamesTests), DisableParallelization = true)]
public sealed class FileNamesTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_move_that_the_system_refuses_copies_nothing(bool overwrite)
    {
        using MountedFolder other = new("tmpfs");
        Assert.SkipWhen(other.SkipReason is not null, other.SkipReason ?? string.Empty);
        string path = _folder.File("a");
        string newPath = other.NewFile();
        File.WriteAllText(path, "content");

        BlockException failure = Assert.Throws<BlockException>(() => FileNames.Move(path, newPath, overwrite));

        Assert.Contains(newPath, failure.Message, StringComparison.Ordinal);
        Assert.True(File.Exists(path));
        Assert.False(File.Exists(newPath));
    }

    [Fact]
    public async Task A_new_name_is_flushed_with_its_folder()
    {
        (string path, string newPath) = (_folder.File("a"), _folder.File("b"));
        await File.WriteAllTextAsync(path, "content");

        string[] calls = await SystemCalls.WatchAsync(_folder, "fsync,rename,renameat,renameat2", () =>
        {
            FileNames.Move(path, newPath, overwrite: false);
            return Task.CompletedTask;
        });

        int renamedAt = SystemCalls.Find(calls, "rename", newPath);
        Assert.True(renamedAt >= 0, "The rename is not in the log.");
        Assert.InRange(SystemCalls.Find(calls, "fsync(", $"<{_folder.Path}>"), renamedAt + 1, calls.Length);
    }

    [Fact]
    public void A_taken_name_is_refused_and_both_files_stay()
    {
        (string path, string newPath) = (_folder.File("a"), _folder.File("b"));
        File.WriteAllText(path, "a");
        File.WriteAllText(newPath, "b");

        Refusals.Throws(BlockErrors.AlreadyExists, () => FileNames.Move(path, newPath, overwrite: false));

        Assert.Equal("a", File.ReadAllText(path));
        Assert.Equal("b", File.ReadAllText(newPath));
    }

    [Fact]
    public void A_taken_name_is_given_to_the_new_file_when_that_is_wanted()
    {
        (string path, string newPath) = (_folder.File("a"), _folder.File("b"));
        File.WriteAllText(path, "a");
        File.WriteAllText(newPath, "b");

        FileNames.Move(path, newPath, overwrite: true);

        Assert.False(File.Exists(path));
        Assert.Equal("a", File.ReadAllText(newPath));
    }
}
