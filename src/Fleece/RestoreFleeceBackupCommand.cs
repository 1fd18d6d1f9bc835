// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Images;
using Fleece.Sessions.Repositories;

namespace Fleece;

/// <summary>Restore-FleeceBackup: makes an image of what a disk was at a backup's instant.</summary>
[Cmdlet(VerbsData.Restore, "FleeceBackup", SupportsShouldProcess = true)]
[OutputType(typeof(ImageInfo))]
public sealed class RestoreFleeceBackupCommand : RepositoryCommand
{
    private BackupRestore? _restore;

    /// <summary>A repository, of which the newest backup is restored, or the file of one backup.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipelineByPropertyName = true)]
    [Alias("PSPath", "FullName", "LiteralPath")]
    public string Path { get; set; } = string.Empty;

    /// <summary>The new image's file; it appears when it is complete.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    public string DestinationPath { get; set; } = string.Empty;

    /// <summary>Of a repository, the newest backup at or before this time.</summary>
    [Parameter]
    public DateTimeOffset? At { get; set; }

    /// <summary>The new image's format; by default the file's extension decides, and raw where it says nothing.</summary>
    [Parameter]
    public ImageFormat? Format { get; set; }

    /// <summary>First byte of the disk to restore; it becomes the first of the new image.</summary>
    [Parameter]
    public long OffsetBytes { get; set; }

    /// <summary>Number of bytes, a multiple of 512; the rest of the disk when left out.</summary>
    [Parameter]
    public long? LengthBytes { get; set; }

    /// <summary>Replace an existing file.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Path, () =>
    {
        (_, IReadOnlyList<BackupPoint> points) = FindPoints(Path, repository => [repository.FindNewest(At)]);
        BackupPoint point = points[0];
        string destination = ResolveLiteral(DestinationPath);
        ImageFormat format = Format ?? Image.FormatForNewFile(destination);
        if (!ShouldProcess(point.Path, $"Restore {point.Disk} as of {point.Instant:u} to '{destination}'"))
        {
            return;
        }

        _restore = Wait(BackupRestore.OpenAsync(
            point,
            new RestoreOptions
            {
                DestinationPath = destination,
                Image = new ImageCreateOptions { Format = format },
                Overwrite = Force,
                OffsetBytes = OffsetBytes,
                LengthBytes = LengthBytes,
            },
            StopToken));
        try
        {
            Copy(point, _restore);
        }
        finally
        {
            Close();
        }

        WriteObject(Wait(Image.GetInfoAsync(destination, format, StopToken)));
    });

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            Close();
        }

        base.Dispose(disposing);
    }

    private void Copy(BackupPoint point, BackupRestore restore)
    {
        if (restore.ResumedBytes != 0)
        {
            WriteVerbose($"Going on where an interrupted restore ended: {restore.ResumedBytes} bytes are there.");
        }

        ByteProgress progress = new(this, $"Restoring {point.Path}", restore.DataBytes);
        while (Wait(restore.StepAsync(StopToken)))
        {
            progress.Report(restore.DoneBytes);
        }

        Wait(restore.CompleteAsync(StopToken));
        progress.Complete();
    }

    private void Close()
    {
        if (_restore is { } restore)
        {
            _restore = null;
            Wait(restore.DisposeAsync());
        }
    }
}
