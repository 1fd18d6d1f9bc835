// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups;
using Fleece.Backups.Reading;
using Fleece.Backups.Records;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece;

/// <summary>Export-FleeceBackup: stores the chunks of a snapshot in a repository, a backup file, an NBD export or a stream.</summary>
[Cmdlet(VerbsData.Export, "FleeceBackup", DefaultParameterSetName = PathSet, SupportsShouldProcess = true)]
[Alias("Export-Backup")]
[OutputType(typeof(BackupInfo))]
public sealed class ExportFleeceBackupCommand : NetworkCommand
{
    private const string PathSet = "Path";
    private const string UriSet = "Uri";
    private const string StreamSet = "Stream";

    private Func<SnapshotChunk, IBackupTarget>? _openTarget;
    private string _destination = string.Empty;
    private IBackupTarget? _target;
    private string? _note;
    private string _begunFor = string.Empty;
    private BackupWriter? _writer;
    private bool _isRefused;
    private ByteProgress? _progress;

    /// <summary>The backup's file; it appears when the backup is complete. A folder, or a name that ends with a separator, is a
    /// repository: the backup becomes its next one, full or incremental by itself.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipelineByPropertyName = true, ParameterSetName = PathSet)]
    public string DestinationPath { get; set; } = string.Empty;

    /// <summary>An NBD export that takes the backup's bytes: nbd://HOST:PORT/EXPORT, nbd+unix:///EXPORT?socket=PATH, with nbds for
    /// TLS. It must be at least as large as the disk.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = UriSet)]
    public string DestinationUri { get; set; } = string.Empty;

    /// <summary>A .NET stream that takes the disk's bytes in order, zeros included, such as [Console]::OpenStandardOutput(). It stays
    /// open.</summary>
    [Parameter(Mandatory = true, ParameterSetName = StreamSet)]
    [ValidateNotNull]
    public Stream? Stream { get; set; }

    /// <summary>The chunks, from Read-FleeceSnapshot.</summary>
    [Parameter(Mandatory = true, ValueFromPipeline = true)]
    public SnapshotChunk? InputObject { get; set; }

    /// <summary>The disk that the snapshot is of. A repository needs it where the snapshot's server does not tell; one that tells another
    /// disk is refused.</summary>
    [Parameter(ParameterSetName = PathSet)]
    [ValidateNotNullOrEmpty]
    public string? Disk { get; set; }

    /// <summary>The format; by default a file's extension decides, and raw where it says nothing. In a repository the backup that
    /// this one builds on decides, and qcow2 without one.</summary>
    [Parameter(ParameterSetName = PathSet)]
    [ValidateSet(nameof(ImageFormat.Raw), nameof(ImageFormat.Qcow2), nameof(ImageFormat.Vhd), nameof(ImageFormat.Vhdx))]
    public ImageFormat? Format { get; set; }

    /// <summary>What the clusters of a qcow2 backup are compressed with; by default a file's are stored as they are, and a
    /// repository's compressed with zstd.</summary>
    [Parameter(ParameterSetName = PathSet)]
    public ImageCompression? Compression { get; set; }

    /// <summary>Read the backup back, and compare it with what was sent, before it counts as one.</summary>
    [Parameter]
    public SwitchParameter Verify { get; set; }

    /// <summary>Write no manifest beside the backup's file. It can't be tested then, and only be copied.</summary>
    [Parameter(ParameterSetName = PathSet)]
    public SwitchParameter NoManifest { get; set; }

    /// <summary>Replace an existing file, and its manifest; overwrite an export that clients use at the moment.</summary>
    [Parameter(ParameterSetName = PathSet)]
    [Parameter(ParameterSetName = UriSet)]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    protected override void BeginProcessing()
    {
        // A destination that a script block names is known with the first chunk.
        if (Destination.Length != 0)
        {
            Begin();
        }
    }

    private void Begin() => OrEnd(Destination, () =>
    {
        _begunFor = Destination;
        (_destination, _openTarget) = ParameterSetName switch
        {
            UriSet => ToExport(ResolveUri(DestinationUri), new NbdNodeOptions { Tls = ClientTls }),
            StreamSet => ToStream(Stream!),
            _ when Directory.Exists(ResolveLiteral(DestinationPath)) || Path.EndsInDirectorySeparator(DestinationPath) =>
                ToRepository(ResolveLiteral(DestinationPath)),
            _ => ToFile(ResolveLiteral(DestinationPath)),
        };
        _isRefused = !ShouldProcess(_destination, "Write a backup");
    });

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        SnapshotChunk chunk = InputObject!;
        if (_openTarget is null)
        {
            Begin();
        }

        if (_isRefused)
        {
            return;
        }

        OrFail(() =>
        {
            if (Destination != _begunFor)
            {
                throw new BlockException(
                    BlockErrors.InvalidArgument,
                    $"The chunks of one pipeline make one backup, and the destination is '{_begunFor}' for the first and '{Destination}' " +
                    $"for the one at offset {chunk.OffsetBytes}. Name one, or read each snapshot in a pipeline of its own.");
            }

            if (_writer is null)
            {
                _target = _openTarget!(chunk);
                _writer = new BackupWriter(chunk.Source.Source, _target);
                TellWarning(_note); // Now, because a warning may end the pipeline, and the writer must be there to end the target.
            }

            _progress ??= new ByteProgress(this, $"Backing up to {_destination}", _writer.SizeBytes);
            Wait(_writer.WriteAsync(chunk, StopToken));
            _progress.Report(_writer.ArrivedBytes);
        });
        TellWarning(chunk.TakeWarning());
    }

    /// <inheritdoc/>
    protected override void EndProcessing()
    {
        if (_isRefused)
        {
            return;
        }

        OrFail(() =>
        {
            if (_writer is null)
            {
                throw new BlockException(
                    BackupErrors.BackupIncomplete,
                    "No chunk arrived, so no backup was made: the snapshot has nothing left to read, or nothing was piped here.",
                    _destination);
            }

            Backup backup = Wait(_writer.CompleteAsync(StopToken));
            _progress!.Complete();
            WriteObject(new BackupInfo(backup));
            if (backup.Point is null && _target!.Traits.KeepsManifest)
            {
                WriteWarning(
                    $"The backup '{backup.Path}' has no manifest, because chunks came twice or overlap and their digests describe no " +
                    "image. Read each range once.");
            }
        });
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && _writer is { } writer)
        {
            _writer = null;
            Wait(writer.DisposeAsync());
            if (writer.KeptAt is { } kept)
            {
                WriteLastWarning($"{TellKept(kept)} Get-Help about_Fleece says how the backup is completed.");
            }
        }

        base.Dispose(disposing);
    }

    private (string Destination, Func<SnapshotChunk, IBackupTarget> Open) ToExport(NbdUri uri, NbdNodeOptions options) =>
        (uri.ToString(), first => Wait(ExportTarget.ConnectAsync(uri, options, first.Source.Source.SizeBytes, Force, Verify, StopToken)));

    private (string Destination, Func<SnapshotChunk, IBackupTarget> Open) ToStream(Stream stream) => Verify
        ? throw new BlockException(
            BlockErrors.InvalidArgument, "What went into a stream can't be read back. Leave the verification to whoever reads it.")
        : (StreamTarget.Name, first => new StreamTarget(stream, first.Source.Source.SizeBytes));

    private (string Destination, Func<SnapshotChunk, IBackupTarget> Open) ToRepository(string path)
    {
        if (NoManifest)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{path}' is a repository, whose backups are found by their manifests. Leave -NoManifest out, or name a file.",
                path);
        }

        RepositoryTargetOptions options = new()
        {
            RepositoryPath = path,
            DiskName = Disk,
            Format = Format,
            Compression = Compression,
            MustVerify = Verify,
        };
        return (path, Open);

        RepositoryTarget Open(SnapshotChunk first)
        {
            RepositoryTarget target = Wait(RepositoryTarget.CreateAsync(options, first.Source.Source, taken: null, StopToken));
            TellWarning(target.InterruptedNote);
            _note = target.OtherSourceNote;
            return target;
        }
    }

    private (string Destination, Func<SnapshotChunk, IBackupTarget> Open) ToFile(string path)
    {
        FileTargetOptions options = new()
        {
            Path = path,
            Image = new ImageCreateOptions
            {
                Format = FormatOf(path, Format),
                Compression = Compression ?? ImageCompression.None,
            },
            DiskName = Disk,
            HasManifest = !NoManifest,
            Overwrite = Force,
            MustVerify = Verify,
        };
        FileTarget.CheckDestination(options);
        return (path, Open);

        FileTarget Open(SnapshotChunk first)
        {
            FileTarget target = Wait(
                FileTarget.CreateAsync(options with { MayBeOnlyCopy = first.Consumes }, first.Source.Source, StopToken));
            _note = target.Note;
            return target;
        }
    }

    private string Destination => ParameterSetName switch
    {
        UriSet => DestinationUri,
        StreamSet => StreamTarget.Name,
        _ => DestinationPath,
    };

    private static string TellKept(string path) => $"What was consumed before is kept in '{path}'; the rest is still in the session.";

    // A failed backup ends here, not at disposal, so that the error can say what became of the partial file.
    private void OrFail(Action action) => OrEnd(Destination, () =>
    {
        try
        {
            action();
        }
        catch (BlockException e) when (_writer is { } writer)
        {
            _writer = null;
            Wait(writer.DisposeAsync());
            _progress?.Complete();
            throw writer.KeptAt is not { } kept
                ? e
                : new BlockException(
                    e.Kind,
                    $"{e.Message} {TellKept(kept)}",
                    e.Path,
                    e.OffsetBytes,
                    e.Operation,
                    e);
        }
    });
}
