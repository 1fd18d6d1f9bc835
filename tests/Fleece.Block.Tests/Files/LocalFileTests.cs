// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

public sealed class LocalFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_write_behind_the_end_grows_the_file_with_zeros_between()
    {
        using LocalFile file = LocalFile.Create(_folder.NewFile(), 0);

        file.Write(10_000, [1, 2, 3]);

        Assert.Equal(10_003, file.LengthBytes);
        byte[] bytes = new byte[10_003];
        file.Read(0, bytes);
        Assert.Equal(9_999, bytes.AsSpan().LastIndexOf((byte)0));
        Assert.Equal([1, 2, 3], bytes[10_000..]);
    }

    [Fact]
    public void An_error_of_a_file_that_was_renamed_while_it_is_open_names_its_present_path()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux tells where an open file is.");
        string path = _folder.NewFile();
        string link = _folder.NewFile();
        using LocalFile file = LocalFile.Create(path, 0);
        string linked = _folder.NewFile();
        LocalFile.Create(linked, 0).Dispose();
        File.CreateSymbolicLink(link, linked);
        using LocalFile throughLink = LocalFile.Open(link, isReadOnly: true);

        Assert.Equal(link, Assert.Throws<BlockException>(() => throughLink.Read(0, new byte[1])).Path);
        File.Move(path, path + ".kept");
        Assert.Equal(path + ".kept", Assert.Throws<BlockException>(() => file.Read(0, new byte[1])).Path);
        File.Delete(path + ".kept");
        Assert.Equal(path, Assert.Throws<BlockException>(() => file.Read(0, new byte[1])).Path);
    }

    [Fact]
    public void A_read_over_the_end_returns_what_is_there_or_says_truncated()
    {
        using LocalFile file = LocalFile.Create(_folder.NewFile(), 0);
        file.Write(0, [1, 2, 3]);
        byte[] bytes = new byte[8];

        Assert.Equal(3, file.ReadUpTo(0, bytes));
        Assert.Equal(0, file.ReadUpTo(3, bytes));
        Assert.Equal(0, file.ReadUpTo(1L << 40, bytes));
        BlockException exception = Assert.Throws<BlockException>(() => file.Read(0, bytes));
        Assert.Equal(BlockErrors.Truncated, exception.Kind);
        Assert.Equal(3, exception.OffsetBytes);
    }

    [Theory]
    [InlineData(0, 1 << 20)]
    [InlineData(100, 5000)]
    [InlineData(1 << 20, 4096)]
    [InlineData(0, long.MaxValue)]
    [InlineData(long.MaxValue - 1, 1)]
    public void Zeroing_and_discarding_over_the_end_keep_the_length(long offsetBytes, long lengthBytes)
    {
        using LocalFile file = LocalFile.Create(_folder.NewFile(), 0);
        byte[] expected = new byte[5000];
        expected.AsSpan().Fill(7);
        file.Write(0, expected);
        BlockRange range = new(offsetBytes, lengthBytes);
        int startBytes = (int)Math.Min(offsetBytes, expected.Length);
        int endBytes = (int)Math.Min(range.EndBytes, expected.Length);

        file.WriteZeroes(range);
        file.Discard(range);

        expected.AsSpan()[startBytes..endBytes].Clear();
        byte[] actual = new byte[5000];
        file.Read(0, actual);
        Assert.Equal(5000, file.LengthBytes);
        Assert.Equal(expected, actual);
    }

    [Fact]
    public void A_length_can_be_set_up_and_down()
    {
        using LocalFile file = LocalFile.Create(_folder.NewFile(), 4096);

        file.SetLength(1L << 33);
        Assert.Equal(1L << 33, file.LengthBytes);
        file.SetLength(100);
        Assert.Equal(100, file.LengthBytes);
    }

    [Fact]
    public void Offsets_that_are_none_are_refused_before_the_system_sees_them()
    {
        using LocalFile file = LocalFile.Create(_folder.NewFile(), 4096);

        CheckInvalid(() => file.ReadUpTo(-1, new byte[1]));
        CheckInvalid(() => file.ReadUpTo(long.MaxValue, new byte[1]));
        CheckInvalid(() => file.Write(-1, new byte[1]));
        CheckInvalid(() => file.Write(long.MaxValue, new byte[1]));
        CheckInvalid(() => file.SetLength(-1));
        Assert.Equal(4096, file.LengthBytes);
    }

    [Fact]
    public void A_file_behind_its_end_is_not_called_a_hole()
    {
        using LocalFile file = LocalFile.Create(_folder.NewFile(), 4096);

        Assert.Equal(BlockStatus.Data, file.FindExtent(new BlockRange(8192, 4096)).Status);
    }

    private static void CheckInvalid(Action operation) =>
        Assert.Equal(BlockErrors.InvalidRange, Assert.Throws<BlockException>(operation).Kind);
}
