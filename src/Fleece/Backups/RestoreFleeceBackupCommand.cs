// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Block;
using Fleece.Images;

namespace Fleece;

/// <summary>Restore-FleeceBackup: makes an image, or the content of an export, of what a disk was at a backup's instant.</summary>
[Cmdlet(VerbsData.Restore, "FleeceBackup", DefaultParameterSetName = PathSet, SupportsShouldProcess = true)]
[OutputType(typeof(ImageInfo))]
public sealed class RestoreFleeceBackupCommand : NetworkCommand
{
    private const string PathSet = "Path";
    private const string UriSet = "Uri";

    /// <summary>A repository, of which the newest backup is restored, or the file of one backup.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true, ValueFromPipelineByPropertyName = true)]
    [Alias("PSPath", "FullName", "LiteralPath")]
    [BackupArgument]
    [ValidateNotNull]
    public BackupReference? Path { get; set; }

    /// <summary>The new image's file; it appears when it is complete.</summary>
    [Parameter(Mandatory = true, Position = 1, ParameterSetName = PathSet)]
    public string DestinationPath { get; set; } = string.Empty;

    /// <summary>An NBD export that becomes the disk, whatever it holds: nbd://HOST:PORT/EXPORT, nbd+unix:///EXPORT?socket=PATH, with
    /// nbds for TLS. It must be at least as large.</summary>
    [Parameter(Mandatory = true, ParameterSetName = UriSet)]
    public string DestinationUri { get; set; } = string.Empty;

    /// <summary>Of a repository, the newest backup at or before this time.</summary>
    [Parameter]
    public DateTimeOffset? At { get; set; }

    /// <summary>The new image's format; by default the file's extension decides, and raw where it says nothing.</summary>
    [Parameter(ParameterSetName = PathSet)]
    public ImageFormat? Format { get; set; }

    /// <summary>First byte of the disk to restore; it becomes the first of the new image or of the export.</summary>
    [Parameter]
    public long OffsetBytes { get; set; }

    /// <summary>Number of bytes, a multiple of 512; the rest of the disk when left out.</summary>
    [Parameter]
    public long? LengthBytes { get; set; }

    /// <summary>Replace an existing file; overwrite an export that clients use at the moment.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Path!.Path, () =>
    {
        Repository repository = RepositoryReader.ReadAny(ResolveLiteral(Path.Path), out BackupPoint? named);
        Path.Check(named);
        BackupPoint point = named ?? repository.FindNewest(At);
        TellWarning(named is null ? repository.DescribeOtherSource(point.Manifest) : null);

        RestoreOptions options = GetOptions();
        string destination = options.DestinationUri?.ToString() ?? options.DestinationPath;
        if (!ShouldProcess(point.Path, $"Restore {point.Disk} as of {point.Instant:u} to '{destination}'"))
        {
            return;
        }

        BackupRestore restore = Wait(BackupRestore.OpenAsync(point, options, StopToken));
        try
        {
            Copy(point, restore);
        }
        catch (BlockException e) when (options.DestinationUri is not null)
        {
            throw new BlockException(
                e.Kind,
                $"{e.Message} '{destination}' may hold a part of the restored disk and a part of what was there before; restore to it " +
                "once more, from the beginning.",
                e.Path,
                e.OffsetBytes,
                e.Operation,
                e);
        }
        finally
        {
            Wait(restore.DisposeAsync());
        }

        if (options.DestinationUri is null)
        {
            WriteObject(Wait(Image.GetInfoAsync(destination, options.Image.Format, StopToken)));
        }
    });

    private RestoreOptions GetOptions()
    {
        RestoreOptions options = new() { OffsetBytes = OffsetBytes, LengthBytes = LengthBytes };
        if (ParameterSetName == UriSet)
        {
            return options with { DestinationUri = ResolveUri(DestinationUri), Tls = ClientTls, Overwrite = Force };
        }

        string path = ResolveLiteral(DestinationPath);
        return options with
        {
            DestinationPath = path,
            Image = new ImageCreateOptions { Format = Format ?? Image.FormatForNewFile(path) },
            Overwrite = Force,
        };
    }

    private void Copy(BackupPoint point, BackupRestore restore)
    {
        foreach (string note in restore.Notes)
        {
            WriteWarning(note);
        }

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
}
