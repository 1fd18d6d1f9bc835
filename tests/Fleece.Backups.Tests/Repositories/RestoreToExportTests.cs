// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Block;
using Fleece.Nbd;
using Fleece.TestKit;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>Points that are restored to the exports of others' NBD servers, which held something else before.</summary>
public sealed class RestoreToExportTests
{
    private const int BehindBytes = 65536;

    [Theory]
    [InlineData("nbdkit", "file")]
    [InlineData("nbdkit", "--filter=nozero", "file")]
    [InlineData("qemu-nbd", "--format=raw")]
    public async Task The_export_becomes_the_disk_and_keeps_what_lies_behind_it(params string[] server)
    {
        Peer.Need(server[0]);
        await using Nightly nightly = await MakeAsync();
        byte[] before = nightly.Rig.Seeds.Bytes(Nightly.SizeBytes + BehindBytes);
        string path = nightly.Rig.Folder.File("target.raw");
        await File.WriteAllBytesAsync(path, before);

        foreach (BackupPoint point in RepositoryReader.Read(nightly.RepositoryPath).Points)
        {
            using (Server serving = Server.Start(nightly.Rig.Folder, server, path))
            {
                await RestoreAsync(point, serving.Uri);
            }

            byte[] after = await File.ReadAllBytesAsync(path);
            Assert.True(after.AsSpan(0, Nightly.SizeBytes).SequenceEqual(nightly.Truth[point.Id]), $"the point {point.Number} differs");
            Assert.True(after.AsSpan(Nightly.SizeBytes).SequenceEqual(before.AsSpan(Nightly.SizeBytes)), "what lies behind has changed");
        }
    }

    [Fact]
    public async Task A_server_that_fails_fails_the_restore_and_the_next_one_begins_anew()
    {
        Peer.Need("nbdkit");
        await using Nightly nightly = await MakeAsync();
        string path = nightly.Rig.Folder.File("target.raw");
        string failing = nightly.Rig.Folder.File("failing");
        await File.WriteAllBytesAsync(path, nightly.Rig.Seeds.Bytes(Nightly.SizeBytes));
        using Server serving = Server.Start(
            nightly.Rig.Folder, ["nbdkit", "--filter=error", "file"], path, "error-pwrite=EIO", "error-pwrite-rate=100%", $"error-file={failing}");
        BackupPoint point = RepositoryReader.Read(nightly.RepositoryPath).Points[^1];

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            () => RestoreAsync(point, serving.Uri, afterTheFirstStep: () => File.WriteAllText(failing, string.Empty)));
        File.Delete(failing);
        await RestoreAsync(point, serving.Uri);

        Assert.Equal(BlockErrors.IoFailed, error.Kind);
        Assert.Equal(nightly.Truth[point.Id], await File.ReadAllBytesAsync(path));
    }

    [Fact]
    public async Task An_export_that_is_too_small_is_not_touched()
    {
        Peer.Need("nbdkit");
        await using Nightly nightly = await MakeAsync();
        byte[] before = nightly.Rig.Seeds.Bytes(Nightly.SizeBytes - 512);
        string path = nightly.Rig.Folder.File("target.raw");
        await File.WriteAllBytesAsync(path, before);
        using Server serving = Server.Start(nightly.Rig.Folder, ["nbdkit", "file"], path);

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            () => RestoreAsync(RepositoryReader.Read(nightly.RepositoryPath).Points[0], serving.Uri));

        Assert.Equal(BlockErrors.InvalidArgument, error.Kind);
        Assert.Equal(before, await File.ReadAllBytesAsync(path));
    }

    // A full backup, and one that overwrites, zeroes, and leaves the rest.
    private static async Task<Nightly> MakeAsync()
    {
        Nightly nightly = await Nightly.MakeAsync();
        await nightly.BackUpAsync();
        await nightly.WriteAsync(7, 3);
        await nightly.ZeroAsync(150, 20);
        await nightly.BackUpAsync();
        return nightly;
    }

    private static async Task RestoreAsync(BackupPoint point, NbdUri uri, Action? afterTheFirstStep = null)
    {
        await using BackupRestore restore = await BackupRestore.OpenAsync(point, new RestoreOptions { DestinationUri = uri });
        await restore.StepAsync();
        afterTheFirstStep?.Invoke();
        while (await restore.StepAsync())
        {
        }

        await restore.CompleteAsync();
        Assert.Equal(restore.DataBytes, restore.DoneBytes);
    }

    private sealed class Server : IDisposable
    {
        private readonly Process _process;

        private Server(Process process, string socketPath)
        {
            _process = process;
            Uri = NbdUri.Parse($"nbd+unix:///?socket={System.Uri.EscapeDataString(socketPath)}");
        }

        public NbdUri Uri { get; }

        // Both write the file with their process id once they listen.
        public static Server Start(TempFolder folder, string[] server, string imagePath, params string[] parameters)
        {
            string socketPath = folder.NewFile(".sock");
            string pidPath = folder.NewFile(".pid");
            string[] common = server[0] == "nbdkit"
                ? ["--foreground", "--unix", socketPath, "--pidfile", pidPath]
                : ["--persistent", "--shared=8", "--socket", socketPath, "--pid-file", pidPath];
            Process process = Peer.Start(server[0], [.. common, .. server[1..], imagePath, .. parameters]);
            SpinWait.SpinUntil(() => process.HasExited || (File.Exists(pidPath) && new FileInfo(pidPath).Length != 0));
            Assert.False(process.HasExited, process.HasExited ? process.StandardError.ReadToEnd() : string.Empty);
            return new Server(process, socketPath);
        }

        public void Dispose()
        {
            _process.Kill();
            _process.WaitForExit();
            _process.Dispose();
        }
    }
}
