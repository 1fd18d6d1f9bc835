// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Jobs;
using Fleece.Backups.Reading;
using Fleece.Backups.Records;
using Fleece.Backups.Repositories;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Hosting;
using Fleece.Hosting.Local;
using Fleece.Images;
using Fleece.Qemu;
using Fleece.Qemu.Records;

namespace Fleece;

/// <summary>Backup-FleeceDisk: the whole nightly job in one cmdlet.</summary>
[Cmdlet(VerbsData.Backup, "FleeceDisk", SupportsShouldProcess = true, DefaultParameterSetName = DiskSet)]
[OutputType(typeof(BackupInfo))]
public sealed class BackupFleeceDiskCommand : PinningCommand
{
    private int _toldNotes;

    /// <summary>The disk's name, or the disk, that of a guest too, or the bitmap to count with.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true, ParameterSetName = DiskSet)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument(TakesGuests = true)]
    [ValidateNotNull]
    public DiskReference? Disk { get; set; }

    /// <summary>The folder with the disk's backups; it is made when it is not there, the folder around it is not. Of several devices of a
    /// guest it holds a folder for each, with the name that QEMU has for the device.</summary>
    [Parameter(Mandatory = true, Position = 1, ValueFromPipelineByPropertyName = true)]
    public string RepositoryPath { get; set; } = string.Empty;

    /// <summary>How many backups stay. Older ones are merged into those that build on them, or deleted.</summary>
    [Parameter]
    [ValidateRange(1, int.MaxValue)]
    public int? Keep { get; set; }

    /// <summary>The bitmap that says what has changed; it is made when it is not there. By default one named after the
    /// repository.</summary>
    [Parameter]
    [ArgumentCompleter(typeof(BitmapNameCompleter))]
    [BitmapArgument]
    [ValidateNotNull]
    public BitmapReference? Bitmap { get; set; }

    /// <summary>Make a full backup, which begins a new chain.</summary>
    [Parameter]
    public SwitchParameter Full { get; set; }

    /// <summary>Read the backup back, and compare it with what was read of the disk, before it counts as one.</summary>
    [Parameter]
    public SwitchParameter Verify { get; set; }

    /// <summary>The format; by default that of the backup it builds on, and qcow2 without one.</summary>
    [Parameter]
    [ValidateSet(nameof(ImageFormat.Raw), nameof(ImageFormat.Qcow2), nameof(ImageFormat.Vhd), nameof(ImageFormat.Vhdx))]
    public ImageFormat? Format { get; set; }

    /// <summary>What the clusters of a qcow2 backup are compressed with; by default zstd.</summary>
    [Parameter]
    public ImageCompression? Compression { get; set; }

    /// <summary>First what the guest is about to overwrite, or from the disk's start to its end.</summary>
    [Parameter]
    public SnapshotReadOrder Order { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        IReadOnlyList<DiskReference> disks = [];
        ForItem(Disk?.Name ?? QmpSocketPath, () => disks = Checked(ParameterSetName == GuestSet ? GuestDisks() : [Resolved(Disk!)]));
        if (disks.Count == 1)
        {
            ForItem(disks[0].Name, () => BackUp(disks[0], OptionsOf(ResolveLiteral(RepositoryPath), FindBitmap(disks[0]))));
        }
        else if (disks.Count != 0)
        {
            ForItem(QmpSocketPath, () => BackUpAtOneInstant(disks, ResolveLiteral(RepositoryPath)));
        }
    }

    // Before anything is pinned: QEMU does not tell where its guest writes.
    private IReadOnlyList<DiskReference> Checked(IReadOnlyList<DiskReference> disks) =>
        Order == SnapshotReadOrder.Sequential || disks[0].QmpSocketPath is null ? disks : throw SnapshotRead.NoOrder(disks[0].Name);

    private DiskReference Resolved(DiskReference disk) => disk.QmpSocketPath is null ? Same(FindDisk(disk)) : disk;

    private BackupJobOptions OptionsOf(string repositoryPath, string? bitmap) => new()
    {
        RepositoryPath = repositoryPath,
        Keep = Keep,
        Bitmap = bitmap,
        IsFull = Full,
        MustVerify = Verify,
        Format = Format,
        Compression = Compression,
        Order = Order,
        Session = LocalSessions.OptionsOf(SessionOf()),
    };

    // A record is checked against the disk now; a bitmap of a name alone may be made by the job.
    private string? FindBitmap(DiskReference disk)
    {
        BitmapReference? bitmap = Bitmap ?? Disk?.Bitmap;
        return bitmap is null or { BitmapId: null, MountId: null, Disk: null } || disk.QmpSocketPath is not null
            ? bitmap?.Name
            : Wait(Owner.Bitmaps.FindBitmapAsync(disk, bitmap, isExact: false, withRanges: false, StopToken))!.Name;
    }

    private bool IsWanted(DiskReference disk, string repositoryPath) => ShouldProcess(disk.Place, $"Back up to '{repositoryPath}'");

    private void BackUp(DiskReference disk, BackupJobOptions options)
    {
        if (!IsWanted(disk, options.RepositoryPath))
        {
            return;
        }

        if (disk.QmpSocketPath is not null)
        {
            NestedRepositories.CheckBegins(options.RepositoryPath, DevicesOf([disk])[0]);
        }

        IFleeceable found = Wait(Owner.FindFleeceablesAsync([disk], StopToken)).Disks[0];
        BackupJob job = Wait(BackupJob.PrepareAsync(found, options, StopToken));
        try
        {
            job.Pin(Wait(found.BeginSessionAsync(job.SessionOptions, StopToken)));
            Run(job, disk, options.RepositoryPath);
        }
        finally
        {
            Wait(job.DisposeAsync());
        }
    }

    // Devices that can't be found are left out, so that one that was unplugged costs the others no night.
    private void BackUpAtOneInstant(IReadOnlyList<DiskReference> disks, string folder)
    {
        List<(DiskReference Disk, string Device)> found = FindThere(disks);
        CheckNamedOnce(found);
        Dictionary<DiskReference, string> repositories =
            found.ToDictionary(item => item.Disk, item => System.IO.Path.Combine(folder, FolderOf(item.Device)));
        DiskReference[] there = [.. repositories.Keys.Where(disk => IsWanted(disk, repositories[disk]))];
        if (there.Length == 0)
        {
            return;
        }

        TellWarning(NestedRepositories.IsRepository(folder)
            ? $"'{folder}' is the repository of one disk. Those of several lie in a folder for each, and are now in folders of it."
            : null);
        MakeFolder(folder);
        BackupJobOptions[] options = [.. there.Select(disk => OptionsOf(repositories[disk], FindBitmap(disk)))];
        JobsAtOneInstant jobs = Wait(JobsAtOneInstant.StartAsync(
            options, left => Owner.FindFleeceablesAsync([.. left.Select(index => there[index])], StopToken), StopToken));
        try
        {
            for (int index = 0; index < there.Length; index++)
            {
                ForItem(there[index].Name, () => RunOne(jobs.Jobs[index], jobs.Failures[index], there[index], options[index]));
            }
        }
        finally
        {
            Wait(jobs.DisposeAsync());
        }
    }

    private void RunOne(BackupJob? job, BlockException? failure, DiskReference disk, BackupJobOptions options)
    {
        if (job is null)
        {
            throw failure!;
        }

        try
        {
            Run(job, disk, options.RepositoryPath);
        }
        finally
        {
            // Its guest pays for old data no longer than it is needed.
            Wait(job.DisposeAsync());
        }
    }

    // The devices, each with its own name in QEMU, so that a folder does not depend on how the device was spelled.
    private List<(DiskReference Disk, string Device)> FindThere(IReadOnlyList<DiskReference> disks)
    {
        try
        {
            return [.. disks.Zip(DevicesOf(disks))];
        }
        catch (BlockException e) when (e.Kind is QemuErrors.DeviceUnknown or QemuErrors.DeviceUnsuitable)
        {
            List<(DiskReference, string)> there = [];
            foreach (DiskReference disk in disks)
            {
                ForItem(disk.Name, () => there.Add((disk, DevicesOf([disk])[0])));
            }

            return there;
        }
    }

    private string[] DevicesOf(IReadOnlyList<DiskReference> disks)
    {
        IReadOnlyList<IFleeceable> found = Wait(Owner.FindFleeceablesAsync(disks, StopToken)).Disks;
        IReadOnlyList<QemuDiskInfo> all = Wait(Owner.Guests.ListGuestDisksAsync(disks[0].QmpSocketPath!, StopToken));
        return [.. disks.Zip(found, (disk, its) =>
            all.FirstOrDefault(info => info.Name == PrintableText.Of(its.Name))?.Device ?? disk.Name)];
    }

    private static void CheckNamedOnce(List<(DiskReference Disk, string Device)> found)
    {
        if (found.GroupBy(item => item.Device, StringComparer.Ordinal).FirstOrDefault(items => items.Count() > 1) is { } twice)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument, $"The device '{twice.Key}' is named twice. Name each device once.");
        }
    }

    private static string FolderOf(string device) =>
        device is not ("." or "..") && device.AsSpan().IndexOfAny(System.IO.Path.GetInvalidFileNameChars()) < 0
            ? device
            : throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The device '{device}' can't give its name to a folder. Give it an id in QEMU, or back it up by itself.");

    // As a repository's own folder: one that should be around it is more often a volume that is not mounted.
    private static void MakeFolder(string folder)
    {
        if (!System.IO.Directory.Exists(System.IO.Path.GetDirectoryName(folder)))
        {
            throw new BlockException(
                BlockErrors.NotFound,
                $"Cannot make the folder '{folder}' for the repositories: the folder that is to hold it does not exist. Check the path, " +
                "and whether its volume is mounted.",
                folder,
                operation: "create");
        }

        try
        {
            _ = System.IO.Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, folder, "create");
        }
    }

    private void Run(BackupJob job, DiskReference disk, string repositoryPath)
    {
        _toldNotes = 0;
        TellNotes(job);
        if (disk.QmpSocketPath is not null)
        {
            TellSession(job);
        }

        Wait(job.BeginCopyAsync(StopToken));
        TellNotes(job);
        ByteProgress progress = new(this, $"Backing up {disk}", job.SizeBytes);
        while (Wait(job.StepAsync(StopToken)))
        {
            progress.Report(job.ArrivedBytes);
            TellWarning(job.TakeWarning());
        }

        Backup backup = Wait(job.CompleteAsync(StopToken));
        progress.Complete();
        WriteObject(new BackupInfo(backup));
        TellNotes(job);

        // The backup is one whatever becomes of the old ones, so this is an error of its own.
        ForItem(repositoryPath, () => Wait(job.RetainAsync(StopToken)));
        TellNotes(job);
    }

    private void TellSession(BackupJob job)
    {
        try
        {
            SessionReference session = new(job.Session!.Id, job.Session.Identity?.Id);
            TellInstant(Wait(Owner.Sessions.FindSessionAsync(session, StopToken)));
        }
        catch (BlockException e)
        {
            WriteVerbose($"Nothing is known of the instant: {e.Message}"); // The copy says what it means for the backup.
        }

        TellWarning(job.TakeWarning());
    }

    // As soon as there are some: a failure later must not keep them back.
    private void TellNotes(BackupJob job)
    {
        while (_toldNotes < job.Notes.Count)
        {
            WriteWarning(job.Notes[_toldNotes++]);
        }
    }
}
