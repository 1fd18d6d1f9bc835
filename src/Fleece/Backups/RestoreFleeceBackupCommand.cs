// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Block;
using Fleece.Hosting;
using Fleece.Hosting.Local;
using Fleece.Images;
using Fleece.Nbd.Client;

namespace Fleece;

/// <summary>Restore-FleeceBackup: makes an image, or the content of an export, of what a disk was at a backup's instant.</summary>
[Cmdlet(VerbsData.Restore, "FleeceBackup", DefaultParameterSetName = PathSet, SupportsShouldProcess = true)]
[OutputType(typeof(ImageInfo), typeof(NbdImageInfo))]
public sealed class RestoreFleeceBackupCommand : NetworkCommand
{
    private const string PathSet = "Path";
    private const string LiteralPathSet = "LiteralPath";
    private const string PathToUriSet = "PathToUri";
    private const string LiteralPathToUriSet = "LiteralPathToUri";

    /// <summary>A repository, of which the newest backup is restored, or the file of one backup; with wildcards that fit one.</summary>
    [Parameter(
        Mandatory = true, Position = 0, ValueFromPipeline = true, ValueFromPipelineByPropertyName = true, ParameterSetName = PathSet)]
    [Parameter(
        Mandatory = true, Position = 0, ValueFromPipeline = true, ValueFromPipelineByPropertyName = true, ParameterSetName = PathToUriSet)]
    [SupportsWildcards]
    [BackupArgument]
    [ValidateNotNull]
    public BackupReference? Path { get; set; }

    /// <summary>The same, taken as it is.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = LiteralPathSet)]
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = LiteralPathToUriSet)]
    [Alias("PSPath", "FullName")]
    public string LiteralPath { get; set; } = string.Empty;

    /// <summary>The new image's file; it appears when it is complete.</summary>
    [Parameter(Mandatory = true, Position = 1, ValueFromPipelineByPropertyName = true, ParameterSetName = PathSet)]
    [Parameter(Mandatory = true, Position = 1, ValueFromPipelineByPropertyName = true, ParameterSetName = LiteralPathSet)]
    public string DestinationPath { get; set; } = string.Empty;

    /// <summary>An NBD export that becomes the disk, whatever it holds: nbd://HOST:PORT/EXPORT, nbd+unix:///EXPORT?socket=PATH, with
    /// nbds for TLS. It must be at least as large.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = PathToUriSet)]
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = LiteralPathToUriSet)]
    public string DestinationUri { get; set; } = string.Empty;

    /// <summary>Of a repository, the newest backup at or before this time.</summary>
    [Parameter]
    public DateTimeOffset? At { get; set; }

    /// <summary>The new image's format; by default the file's extension decides, and raw where it says nothing.</summary>
    [Parameter(ParameterSetName = PathSet)]
    [Parameter(ParameterSetName = LiteralPathSet)]
    [ValidateSet(nameof(ImageFormat.Raw), nameof(ImageFormat.Qcow2), nameof(ImageFormat.Vhd), nameof(ImageFormat.Vhdx))]
    public ImageFormat? Format { get; set; }

    /// <summary>First byte of the disk to restore; it becomes the first of the new image or of the export.</summary>
    [Parameter]
    [ValidateRange(0, long.MaxValue)]
    public long OffsetBytes { get; set; }

    /// <summary>Number of bytes, a multiple of 512; the rest of the disk when left out.</summary>
    [Parameter]
    [ValidateMultiple(512)]
    public long? LengthBytes { get; set; }

    /// <summary>Replace an existing file, or what an export holds, without asking; overwrite an export that clients use at the moment.
    /// </summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <summary>Of an export that was written, output what Get-FleeceImage tells of it.</summary>
    [Parameter(ParameterSetName = PathToUriSet)]
    [Parameter(ParameterSetName = LiteralPathToUriSet)]
    public SwitchParameter PassThru { get; set; }

    private bool IsToUri => ParameterSetName is PathToUriSet or LiteralPathToUriSet;

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        BackupReference reference = Path ?? new BackupReference(LiteralPath);
        ForEachFile(
            [reference.Path],
            isLiteral: Path is null || reference.Id is not null,
            path => Restore(reference with { Path = path }),
            forOne: IsToUri ? nameof(DestinationUri) : nameof(DestinationPath));
    }

    private void Restore(BackupReference reference)
    {
        Repository repository = RepositoryReader.ReadAny(reference.Path, out BackupPoint? named);
        reference.Check(named);
        BackupPoint point = named ?? repository.FindNewest(At);
        TellWarning(named is null ? repository.DescribeOtherSource(point.Manifest) : null);

        RestoreOptions options = GetOptions();
        string destination = options.DestinationUri?.ToString() ?? options.DestinationPath;
        TakeDestination(destination);
        BackupRestore.CheckOwner(point, options);
        if (!ShouldProcess(point.Path, $"Restore {point.Disk} as of {point.Instant:u} to '{destination}'") || !IsWanted(ref options))
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
        else if (PassThru)
        {
            WriteObject(Wait(NbdImageInfo.ReadAsync(options.DestinationUri, ClientTls, StopToken)));
        }
    }

    // Where no question can be asked, an existing file is refused as that.
    private bool IsWanted(ref RestoreOptions options)
    {
        if (Force)
        {
            return true;
        }

        if (options.DestinationUri is { } uri)
        {
            return Confirms($"All that the export '{uri}' holds is overwritten.");
        }

        string path = options.DestinationPath;
        if (!File.Exists(path) || Ask($"The file '{path}' exists, and is replaced.") is not { } answer)
        {
            return true;
        }

        options = options with { Overwrite = answer };
        return answer;
    }

    private RestoreOptions GetOptions()
    {
        RestoreOptions options = new() { OffsetBytes = OffsetBytes, LengthBytes = LengthBytes };
        if (IsToUri)
        {
            return options with { DestinationUri = ResolveUri(DestinationUri), Tls = ClientTls, Overwrite = Force };
        }

        string path = ResolveLiteral(DestinationPath);
        return options with
        {
            DestinationPath = path,
            Image = new ImageCreateOptions { Format = FormatOf(path, Format) },
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
