// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

/// <summary>Files that another program cuts short while they are open here.</summary>
public sealed class KnownLengthTests : IDisposable
{
    private const int LengthBytes = 65536;

    private readonly TempFolder _folder = new();
    private readonly string _path;
    private readonly LocalFile _file;

    public KnownLengthTests()
    {
        _path = _folder.NewFile();
        _file = LocalFile.Create(_path, LengthBytes);
    }

    public void Dispose()
    {
        _file.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public async Task A_read_that_ends_before_the_end_so_far_fails_where_a_shorter_answer_is_allowed_too()
    {
        await CutAsync(_path, LengthBytes / 2);

        BlockException cut = Assert.Throws<BlockException>(() => _file.ReadUpTo(0, new byte[LengthBytes]));

        Assert.Equal((BlockErrors.Truncated, LengthBytes / 2), (cut.Kind, cut.OffsetBytes));
    }

    [Fact]
    public async Task A_read_before_the_cut_goes_on()
    {
        await CutAsync(_path, LengthBytes / 2);
        Assert.NotNull(_file.FindCut());

        Assert.Equal(LengthBytes / 2, _file.ReadUpTo(0, new byte[LengthBytes / 2]));
    }

    [Fact]
    public async Task A_file_that_became_longer_here_is_cut_when_it_is_shorter_than_that()
    {
        _file.Write(LengthBytes, new byte[512]);
        Assert.Null(_file.FindCut());

        await CutAsync(_path, LengthBytes);

        Assert.Equal(LengthBytes, _file.FindCut()?.OffsetBytes);
    }

    [Fact]
    public void A_file_that_became_shorter_here_is_whole()
    {
        _file.SetLength(LengthBytes / 2);

        Assert.Null(_file.FindCut());
        Assert.Equal(0, _file.ReadUpTo(LengthBytes / 2, new byte[512]));
    }

    [Fact]
    public async Task A_file_that_was_found_cut_stays_so_though_another_program_makes_it_as_long_again()
    {
        await CutAsync(_path, LengthBytes / 2);
        BlockException? cut = _file.FindCut();

        await CutAsync(_path, LengthBytes);

        Assert.NotNull(cut);
        Assert.Same(cut, _file.FindCut());
        Assert.Same(cut, Assert.Throws<BlockException>(() => _file.Write(0, new byte[512])));
        Assert.Same(cut, Assert.Throws<BlockException>(_file.Flush));
    }

    [Fact]
    public async Task A_file_that_is_open_for_reading_only_is_found_cut_by_its_watch()
    {
        _file.Dispose();
        using LocalFile reader = LocalFile.Open(_path, isReadOnly: true);
        using LossWatch watch = LossWatch.Open(reader);
        Assert.Null(watch.Find());

        await CutAsync(_path, 512);

        Assert.Equal(BlockErrors.Truncated, watch.Find()?.Kind);
    }

    // By a program that asks for no lock.
    private static async Task CutAsync(string path, long lengthBytes)
    {
        Peer.Need("truncate");
        await Peer.RunAsync("truncate", "-s", lengthBytes.ToString(System.Globalization.CultureInfo.InvariantCulture), path);
    }
}
