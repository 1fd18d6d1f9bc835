// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Jobs;
using Fleece.Backups.Records;
using Fleece.Backups.Writing;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Local;
using Fleece.Images;

namespace Fleece;

/// <summary>Backup-FleeceDisk: the whole nightly job in one cmdlet.</summary>
[Cmdlet(VerbsData.Backup, "FleeceDisk", SupportsShouldProcess = true)]
[OutputType(typeof(BackupInfo))]
public sealed class BackupFleeceDiskCommand : PinningCommand
{
    private int _toldNotes;

    /// <summary>The disk's name, or the disk, or the bitmap to count with.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    public DiskReference? Disk { get; set; }

    /// <summary>The folder with the disk's backups; it is made when it is not there, the folder around it is not.</summary>
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

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Disk!.Name, () =>
    {
        DiskInfo disk = FindDisk(Disk);
        BackupJobOptions options = new()
        {
            RepositoryPath = ResolveLiteral(RepositoryPath),
            Keep = Keep,
            Bitmap = FindBitmap(disk),
            IsFull = Full,
            MustVerify = Verify,
            Format = Format,
            Compression = Compression,
            Session = LocalSessions.OptionsOf(SessionOf()),
        };
        if (ShouldProcess(disk.Name, $"Back up to '{options.RepositoryPath}'"))
        {
            Run(Wait(Owner.FindFleeceableAsync(Same(disk), StopToken)), options);
        }
    });

    // A record is checked against the disk now; a bitmap of a name alone may be made by the job.
    private string? FindBitmap(DiskInfo disk)
    {
        BitmapReference? bitmap = Bitmap ?? Disk!.Bitmap;
        return bitmap is null or { BitmapId: null, MountId: null, Disk: null }
            ? bitmap?.Name
            : Wait(Owner.Bitmaps.FindBitmapAsync(Same(disk), bitmap, isExact: false, withRanges: false, StopToken))!.Name;
    }

    private void Run(IFleeceable disk, BackupJobOptions options)
    {
        BackupJob job = Wait(BackupJob.StartAsync(disk, options, StopToken));
        _toldNotes = 0;
        try
        {
            TellNotes(job);
            ByteProgress progress = new(this, $"Backing up {disk.Name}", job.SizeBytes);
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
            ForItem(options.RepositoryPath, () => Wait(job.RetainAsync(StopToken)));
            TellNotes(job);
        }
        finally
        {
            Wait(job.DisposeAsync());
        }
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
