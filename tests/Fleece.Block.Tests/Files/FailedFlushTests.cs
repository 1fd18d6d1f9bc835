// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

/// <summary>Flushes of storage that can't store what the system has accepted.</summary>
public sealed class FailedFlushTests : IDisposable
{
    private const int PieceBytes = 1 << 20;
    private const int MostPieces = 48;

    private readonly StorageThatFills _storage = new();

    public void Dispose() => _storage.Dispose();

    [Fact]
    public void The_first_flush_that_the_kernel_fails_and_every_later_one_fail_and_what_was_flushed_before_is_there()
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        string path = Path.Combine(_storage.Path, "disk.raw");
        int flushed = 0;
        using (LocalFile file = LocalFile.Create(path, MostPieces * PieceBytes))
        {
            file.Flush();
            FileNames.FlushName(path);
            _storage.Fill(exceptBytes: 4 * PieceBytes);

            BlockException first = Assert.Throws<BlockException>(() =>
            {
                for (; flushed < MostPieces; flushed++)
                {
                    file.Write((long)flushed * PieceBytes, Piece(flushed));
                    file.Flush();
                }
            });

            Assert.Equal("flush", first.Operation);
            Assert.Contains(path, first.Message, StringComparison.Ordinal);
            Assert.Equal(BlockErrors.IoFailed, first.Kind);
            Assert.Same(first, Assert.Throws<BlockException>(file.Flush).InnerException);
        }

        _storage.Recover();
        Assert.InRange(flushed, 1, MostPieces - 1);
        byte[] read = new byte[PieceBytes];
        using LocalFile again = LocalFile.Open(path, isReadOnly: false);
        for (int piece = 0; piece < flushed; piece++)
        {
            again.Read((long)piece * PieceBytes, read);
            Assert.Equal(Piece(piece), read);
        }

        again.Write(0, Piece(0));
        again.Flush();
    }

    [Fact]
    public void A_name_that_can_t_be_made_durable_is_an_error_and_the_file_system_is_called_read_only_from_then_on()
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        _storage.Fill(exceptBytes: 0);

        // Long names, so that the folder soon needs blocks that the storage does not have.
        int number = 0;
        BlockException first = Assert.Throws<BlockException>(() =>
        {
            for (; number < 10_000; number++)
            {
                string path = Path.Combine(_storage.Path, $"{number:D5}{new string('x', 200)}");
                LocalFile.Create(path, 0).Dispose();
                FileNames.FlushName(path);
            }
        });

        Assert.Equal((_storage.Path, "flush"), (first.Path, first.Operation));
        BlockException later = Assert.Throws<BlockException>(
            () => LocalFile.Create(Path.Combine(_storage.Path, "later"), 0).Dispose());
        Assert.Equal(BlockErrors.ReadOnly, later.Kind);
        Assert.Contains("file system is read-only", later.Message, StringComparison.Ordinal);
    }

    private static byte[] Piece(int number)
    {
        byte[] bytes = new byte[PieceBytes];
        new Random(number).NextBytes(bytes);
        return bytes;
    }
}
