// SPDX-License-Identifier: MIT
using Fleece.Backups.Jobs;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Tests;
using Fleece.Images;
using Fleece.Images.Checking;
using Fleece.TestKit;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>A disk, its repository and what the disk held at each backup.</summary>
internal sealed class Nightly : IAsyncDisposable
{
    public const int UnitBytes = 65536;
    public const int Units = 200;
    public const int SizeBytes = Units * UnitBytes;

    private readonly ImageFormat _format;

    private Nightly(Rig rig, Disk disk, ImageFormat format)
    {
        _format = format;
        Rig = rig;
        Disk = disk;
        RepositoryPath = rig.Folder.File("vm");
    }

    public Rig Rig { get; }

    public Disk Disk { get; set; }

    /// <summary>True when a merge has just been interrupted where only Fleece reads what stays.</summary>
    public bool IsBetweenIdentityAndName { get; set; }

    public Dictionary<Guid, byte[]> Truth { get; } = [];

    public string RepositoryPath { get; set; }

    /// <summary>The formats that hold chains.</summary>
    public static TheoryData<ImageFormat> Formats => new([ImageFormat.Qcow2, ImageFormat.Vhd, ImageFormat.Vhdx]);

    public static async Task<Nightly> MakeAsync(ImageFormat format = ImageFormat.Qcow2)
    {
        Rig rig = new();
        byte[] content = rig.Seeds.Bytes(SizeBytes);
        content.AsSpan(40 * UnitBytes, 70 * UnitBytes).Clear();
        return new Nightly(rig, await rig.AddDiskAsync("vm", content), format);
    }

    public async Task WriteAsync(int unit, int units = 1)
    {
        await Disk.Device.WriteAsync(unit * (long)UnitBytes, Rig.Seeds.Bytes(units * UnitBytes));
    }

    public Task ZeroAsync(int unit, int units = 1) =>
        Disk.Device.WriteZeroesAsync(unit * (long)UnitBytes, units * (long)UnitBytes).AsTask();

    public async Task<byte[]> ReadDiskAsync()
    {
        byte[] content = new byte[SizeBytes];
        await Disk.Device.ReadAsync(0, content);
        return content;
    }

    public BackupJobOptions Options(int? keep = null) => new() { RepositoryPath = RepositoryPath, Keep = keep, Format = _format };

    /// <summary>One night that goes well.</summary>
    /// <param name="options">The job.</param>
    /// <param name="disk">The disk as the job sees it; null for <see cref="Disk"/> itself.</param>
    public async Task<Backup> BackUpAsync(BackupJobOptions? options = null, IFleeceable? disk = null)
    {
        byte[] now = await ReadDiskAsync();
        await using BackupJob job = await BackupJob.StartAsync(disk ?? Disk, options ?? Options());
        while (await job.StepAsync())
        {
        }

        Backup backup = await job.CompleteAsync();
        Truth[backup.Point!.Id] = now;
        await job.RetainAsync();
        return backup;
    }

    public Repository Read() => RepositoryReader.Read(RepositoryPath);

    public async Task<byte[]> RestoreAsync(BackupPoint point)
    {
        string path = Rig.Folder.NewFile();
        await using (BackupRestore restore = await BackupRestore.OpenAsync(point, ToRaw(path)))
        {
            while (await restore.StepAsync())
            {
            }

            await restore.CompleteAsync();
        }

        byte[] content = await File.ReadAllBytesAsync(path);
        File.Delete(path);
        return content;
    }

    public static RestoreOptions ToRaw(string path) =>
        new() { DestinationPath = path, Image = new ImageCreateOptions { Format = ImageFormat.Raw } };

    /// <summary>Every point restores to what the disk held, its digests hold, and its image alone, which finds its parents by what stands in
    /// it, shows the same, to QEMU too.</summary>
    /// <param name="withQemu">False to leave QEMU out.</param>
    /// <param name="withImages">False where a merge was interrupted between the identity and the name.</param>
    public async Task CheckAsync(bool withQemu = true, bool withImages = true)
    {
        Repository repository = Read();
        Assert.Empty(repository.Faults);
        foreach (BackupPoint point in repository.Points)
        {
            byte[] restored = await RestoreAsync(point);
            Assert.True(restored.AsSpan().SequenceEqual(Truth[point.Id]), $"The backup {point.Number} restores to other bytes.");
            Assert.Empty((await TestAsync(repository, point)).Findings);
            if (withImages)
            {
                await CheckImageAsync(point);
            }

            // QEMU reads a VHD without asking for its parent, and no VHDX with one.
            if (withQemu && Peer.Has("qemu-img") && (point.Format == ImageFormat.Qcow2 || point.Kind == BackupKind.Full))
            {
                await CheckWithQemuAsync(point);
            }
        }
    }

    public static async Task<BackupReport> TestAsync(Repository repository, BackupPoint point, bool isDeep = true)
    {
        await using BackupTest test = new(repository, point, isDeep);
        while (await test.StepAsync())
        {
        }

        return test.Report;
    }

    // Without manifests: the image by its own name, its parents by the names and identities in it.
    private async Task CheckImageAsync(BackupPoint point)
    {
        (IBlockNode image, _) = await Image.OpenAsync(point.Path, new ImageOpenOptions { Format = point.Format, IsReadOnly = true });
        await using (image)
        {
            byte[] content = new byte[SizeBytes];
            await image.ReadAsync(0, content, CancellationToken.None);
            Assert.True(content.AsSpan().SequenceEqual(Truth[point.Id]), $"The image of the backup {point.Number} shows other bytes.");
        }

        ImageReport report = await Image.CheckAsync(point.Path, point.Format, ImageRepair.None, CancellationToken.None);
        Assert.DoesNotContain(report.Findings, finding => finding.Kind == ImageFindingKind.Corruption);
    }

    // Nothing of Fleece.
    private async Task CheckWithQemuAsync(BackupPoint point)
    {
        string truth = Rig.Folder.NewFile();
        await File.WriteAllBytesAsync(truth, Truth[point.Id]);
        string format = point.Format == ImageFormat.Vhd ? "vpc" : point.Format.ToString().ToLowerInvariant();
        await Peer.RunAsync("qemu-img", "compare", "-f", format, "-F", "raw", point.Path, truth);
        if (point.Format != ImageFormat.Vhd)
        {
            await Peer.RunAsync("qemu-img", "check", "-f", format, point.Path);
        }

        File.Delete(truth);
    }

    public ValueTask DisposeAsync() => Rig.DisposeAsync();

    public static async Task<BlockException> RefusedAsync(string kind, Func<Task> action)
    {
        BlockException error = await Assert.ThrowsAsync<BlockException>(action);
        Assert.Equal(kind, error.Kind);
        return error;
    }
}
