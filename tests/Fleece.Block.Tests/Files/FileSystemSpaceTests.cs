// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

public sealed class FileSystemSpaceTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_folder_a_file_and_a_path_to_come_all_have_free_space()
    {
        string file = _folder.NewFile();
        File.WriteAllText(file, "content");

        foreach (string path in (string[])[_folder.Path, file, _folder.File(Path.Combine("a", "b", "c.raw"))])
        {
            Assert.True(FileSystemSpace.TryGetFreeBytes(path, out long freeBytes));
            Assert.True(freeBytes > 0);
        }
    }

    [Fact]
    public void A_path_that_can_not_be_one_has_no_answer()
    {
        Assert.False(FileSystemSpace.TryGetFreeBytes("", out long freeBytes));
        Assert.Equal(0, freeBytes);
    }

    [Fact]
    public void A_missing_file_takes_no_storage() =>
        Assert.False(FileSystemSpace.TryGetAllocatedBytes(_folder.NewFile(), out _));
}
