// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Resuming;
using Fleece.TestKit;

namespace Fleece.Disks.Tests;

/// <summary>Storage beneath temp that can't store what the system has accepted: no reader ever gets what it holds instead.</summary>
public sealed class LostTempTests : IDisposable
{
    private const int SizeBytes = 24 << 20;
    private const int PieceBytes = 1 << 20;

    private readonly StorageThatFills _storage = new(staysWritable: true);

    public void Dispose() => _storage.Dispose();

    [Theory]
    [InlineData(null)]
    [InlineData("temp.qcow2")]
    [InlineData("temp.vhdx")]
    public async Task A_read_of_old_data_that_the_system_could_not_store_breaks_the_session(string? file)
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        await using Rig rig = new();
        byte[] content = rig.Seeds.Bytes(SizeBytes);
        Disk disk = await rig.AddDiskAsync("vm", content);
        Session session = await Rig.StartAsync(
            disk, new SessionOptions { TempPath = file is null ? _storage.Path : Path.Combine(_storage.Path, file) });

        await OverwriteAsync(disk);
        Assert.Equal(content, await Rig.ReadAllAsync(session));
        await _storage.WriteBackAsync(session.TempPath);

        BlockException failure = await Assert.ThrowsAsync<BlockException>(() => Rig.ReadAllAsync(session));
        Assert.Equal(BlockErrors.Broken, failure.Kind);
        Assert.Equal(SessionState.Broken, session.State);
        Assert.Contains("could not store", session.BrokenBy, StringComparison.Ordinal);
        Assert.Contains(session.TempPath, session.BrokenBy, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Old_data_that_the_system_could_not_store_breaks_the_session_without_a_read()
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        await using Rig rig = new();
        Session session = await LoseTempAsync(rig);

        session.Disk.Witness.Beat();

        Assert.Equal(SessionState.Broken, session.State);
        Assert.Contains("could not store", session.BrokenBy, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_status_of_old_data_that_the_system_could_not_store_breaks_the_session()
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        await using Rig rig = new();
        Session session = await LoseTempAsync(rig);

        await Assert.ThrowsAsync<BlockException>(async () => await session.Snapshot.GetStatusAsync(0, SizeBytes));

        Assert.Equal(SessionState.Broken, session.State);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_session_whose_temp_can_not_be_made_durable_comes_back_broken_with_the_cause(bool isWrittenBackBefore)
    {
        Assert.SkipWhen(_storage.SkipReason is not null, _storage.SkipReason ?? string.Empty);
        await using Rig rig = new();
        SessionFolder folder = SessionFolder.Open(rig.Folder.File("sessions"));
        string path = rig.Folder.File("vm.raw");
        await File.WriteAllBytesAsync(path, rig.Seeds.Bytes(SizeBytes));
        Disk disk = await Disk.OpenAsync(path, "vm", folder: folder);
        Session session = await Rig.StartAsync(disk, new SessionOptions { TempPath = _storage.Path, Folder = folder });
        Assert.True(session.CanResume, session.CannotResumeReason);
        await OverwriteAsync(disk);
        if (isWrittenBackBefore)
        {
            await _storage.WriteBackAsync(session.TempPath);
        }

        BlockException failure = await Assert.ThrowsAsync<BlockException>(async () => await disk.SuspendAsync());
        Assert.Contains(session.TempPath, failure.Message, StringComparison.Ordinal);

        await using Disk again = await Disk.OpenAsync(path, "vm", folder: folder);
        Session resumed = Assert.Single(again.Sessions);
        Assert.Equal(SessionState.Broken, resumed.State);
        Assert.Contains(session.TempPath, resumed.BrokenBy, StringComparison.Ordinal);
    }

    // A session whose old data the system could not store, which nothing has asked for yet.
    private async Task<Session> LoseTempAsync(Rig rig)
    {
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        Session session = await Rig.StartAsync(disk, new SessionOptions { TempPath = _storage.Path });
        await OverwriteAsync(disk);
        await _storage.WriteBackAsync(session.TempPath);
        return session;
    }

    private async Task OverwriteAsync(Disk disk)
    {
        _storage.Fill(exceptBytes: 4 * PieceBytes);
        byte[] piece = new byte[PieceBytes];
        Array.Fill(piece, (byte)0xFF);
        for (long at = 0; at < SizeBytes; at += PieceBytes)
        {
            await disk.Device.WriteAsync(at, piece);
        }
    }
}
