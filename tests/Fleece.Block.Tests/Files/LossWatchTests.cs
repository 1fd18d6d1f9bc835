// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

/// <summary>Storage that can't store what the system has accepted, without a flush of ours.</summary>
public sealed class LossWatchTests : IDisposable
{
    private const int PieceBytes = 1 << 20;
    private const int Pieces = 24;

    private readonly StorageThatFills _storage = new(staysWritable: true);

    public void Dispose() => _storage.Dispose();

    [Fact]
    public async Task A_failure_to_store_is_told_to_a_watch_at_each_question_and_to_a_later_watch_where_no_other_was_told()
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        string path = Path.Combine(_storage.Path, "temp.raw");
        using LocalFile file = LocalFile.Create(path, Pieces * PieceBytes);
        FileNames.FlushClosed(path);
        using LossWatch watch = LossWatch.Open(file);
        _storage.Fill(exceptBytes: 2 * PieceBytes);
        Write(file);
        Assert.Null(watch.Find());

        await _storage.WriteBackAsync(path);

        BlockException failure = watch.Find()!;
        Assert.Contains(path, failure.Message, StringComparison.Ordinal);
        Assert.Equal("store", failure.Operation);
        Assert.Same(failure, watch.Find());
        using (LossWatch later = LossWatch.Open(file))
        {
            Assert.Null(later.Find());
        }

        Write(file);
        await _storage.WriteBackAsync(path);
        using LossWatch next = LossWatch.Open(file);
        Assert.NotNull(next.Find());
    }

    [Fact]
    public async Task Of_many_that_ask_at_once_none_is_told_that_all_is_well_behind_the_failure()
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        string path = Path.Combine(_storage.Path, "temp.raw");
        using LocalFile file = LocalFile.Create(path, Pieces * PieceBytes);
        FileNames.FlushClosed(path);
        using LossWatch watch = LossWatch.Open(file);
        _storage.Fill(exceptBytes: 2 * PieceBytes);
        Write(file);
        await _storage.WriteBackAsync(path);

        BlockException?[] told = new BlockException?[64];
        Parallel.For(0, told.Length, new ParallelOptions { MaxDegreeOfParallelism = 8 }, i => told[i] = watch.Find());

        Assert.All(told, failure => Assert.NotNull(failure));
    }

    [Fact]
    public async Task A_listener_hears_once_of_an_open_file_that_was_renamed_before_the_watch()
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        string path = Path.Combine(_storage.Path, "image.raw");
        using LocalFile file = LocalFile.Create(path, Pieces * PieceBytes);
        FileNames.FlushClosed(path);
        string renamed = Path.Combine(_storage.Path, "renamed.raw");
        File.Move(path, renamed);
        await File.WriteAllBytesAsync(path, [1], TestContext.Current.CancellationToken);
        List<BlockException> heard = [];
        using LossWatch watch = LossWatch.Open(file, heard.Add);
        _storage.Fill(exceptBytes: 2 * PieceBytes);
        Write(file);
        await _storage.WriteBackAsync(renamed);

        Assert.NotNull(watch.Find());
        Assert.Same(Assert.Single(heard), watch.Find());
    }

    [Fact]
    public void A_file_whose_storage_takes_everything_has_nothing_to_tell()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Other systems do not tell.");
        using TempFolder folder = new();
        string path = folder.NewFile();
        using LocalFile file = LocalFile.Create(path, PieceBytes);
        using LossWatch watch = LossWatch.Open(file);
        file.Write(0, new byte[PieceBytes]);
        file.Flush();

        Assert.Null(watch.Find());
    }

    private static void Write(LocalFile file)
    {
        byte[] piece = new byte[PieceBytes];
        Array.Fill(piece, (byte)7);
        for (int i = 0; i < Pieces; i++)
        {
            file.Write((long)i * PieceBytes, piece);
        }
    }
}
