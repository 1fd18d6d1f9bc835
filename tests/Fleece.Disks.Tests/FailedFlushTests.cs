// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Bitmaps;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Disks.Tests;

/// <summary>Disks on storage that can't store what the system has accepted.</summary>
public sealed class FailedFlushTests : IDisposable
{
    private const int PieceBytes = 1 << 20;
    private const int MostPieces = 48;

    private readonly StorageThatFills _storage = new();

    public void Dispose() => _storage.Dispose();

    [Fact]
    public async Task The_end_of_all_disks_tells_of_each_failure_once()
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        string path = Path.Combine(_storage.Path, "vm.raw");
        await Image.CreateAsync(path, new ImageCreateOptions { Format = ImageFormat.Raw, SizeBytes = MostPieces * PieceBytes });
        MountedDisks disks = new();
        Disk disk = await disks.MountAsync(path, "vm", new ImageOpenOptions { Format = ImageFormat.Raw });
        _storage.Fill(exceptBytes: 6 * PieceBytes);
        await Assert.ThrowsAsync<BlockException>(async () =>
        {
            for (int piece = 0; piece < MostPieces; piece++)
            {
                await disk.Device.WriteAsync((long)piece * PieceBytes, Piece(piece));
                await disk.Device.FlushAsync();
            }
        });

        AggregateException failures = await Assert.ThrowsAsync<AggregateException>(async () => await disks.DisposeAsync());

        Assert.Single(failures.InnerExceptions);
        _storage.Recover();
    }

    [Theory]
    [InlineData(ImageFormat.Raw)]
    [InlineData(ImageFormat.Qcow2)]
    [InlineData(ImageFormat.Vhd)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task A_disk_fails_with_its_first_lost_flush_and_keeps_what_it_flushed_before(ImageFormat format)
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        using TempFolder temp = new();
        string path = Path.Combine(_storage.Path, "vm.image");
        await Image.CreateAsync(path, new ImageCreateOptions { Format = format, SizeBytes = MostPieces * PieceBytes });
        Disk disk = await Disk.OpenAsync(path, options: new ImageOpenOptions { Format = format });
        await disk.Bitmaps.CreateAsync("daily");
        Session session = await Rig.StartAsync(disk, new SessionOptions { Bitmap = "daily", TempPath = temp.Path });
        _storage.Fill(exceptBytes: 6 * PieceBytes);

        int flushed = 0;
        BlockException first = await Assert.ThrowsAsync<BlockException>(async () =>
        {
            for (; flushed < MostPieces; flushed++)
            {
                await disk.Device.WriteAsync((long)flushed * PieceBytes, Piece(flushed));
                await disk.Device.FlushAsync();
            }
        });

        Assert.InRange(flushed, 1, MostPieces - 1);
        await Assert.ThrowsAsync<BlockException>(async () => await disk.Device.FlushAsync());
        await Assert.ThrowsAsync<BlockException>(
            async () => await disk.Device.WriteAsync(0, Piece(0).AsMemory(0, 512), WriteFlags.ForceUnitAccess));
        Assert.Equal(DiskStatus.Failed, disk.OperationalStatus);
        Assert.Contains(path, disk.FailureReason, StringComparison.Ordinal);
        Assert.Equal(SessionState.Broken, session.State);
        Assert.Equal(BitmapState.Untrusted, disk.Bitmaps.Find("daily").State);
        BlockException closing = await Assert.ThrowsAsync<BlockException>(async () => await disk.DisposeAsync());
        Assert.Contains(path, closing.Message, StringComparison.Ordinal);
        Assert.Equal(first.Kind, closing.Kind);

        _storage.Recover();
        await using Disk again = await Disk.OpenAsync(path, options: new ImageOpenOptions { Format = format });
        byte[] read = new byte[PieceBytes];
        for (int piece = 0; piece < flushed; piece++)
        {
            await again.Device.ReadAsync((long)piece * PieceBytes, read);
            Assert.Equal(Piece(piece), read);
        }

        Assert.Equal(DiskStatus.Ok, again.OperationalStatus);
        await again.Device.FlushAsync();
    }

    private static byte[] Piece(int number)
    {
        byte[] bytes = new byte[PieceBytes];
        new Random(number).NextBytes(bytes);
        return bytes;
    }
}
