// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Images;
using Fleece.Sessions.Backups;
using Fleece.Sessions.Reading;

namespace Fleece;

/// <summary>Export-FleeceBackup: stores the chunks of a snapshot in a backup file or an NBD export.</summary>
[Cmdlet(VerbsData.Export, "FleeceBackup", DefaultParameterSetName = PathSet, SupportsShouldProcess = true)]
[Alias("Export-Backup")]
[OutputType(typeof(Backup))]
public sealed class ExportFleeceBackupCommand : NetworkCommand
{
    private const string PathSet = "Path";
    private const string UriSet = "Uri";

    private BackupOptions? _options;
    private BackupWriter? _writer;
    private bool _isRefused;
    private ByteProgress? _progress;

    /// <summary>The backup's file; it appears when the backup is complete.</summary>
    [Parameter(Mandatory = true, Position = 0, ParameterSetName = PathSet)]
    public string DestinationPath { get; set; } = string.Empty;

    /// <summary>An NBD export that takes the backup's bytes: nbd://HOST:PORT/EXPORT, nbd+unix:///EXPORT?socket=PATH, with nbds for
    /// TLS. It must be at least as large as the disk.</summary>
    [Parameter(Mandatory = true, ParameterSetName = UriSet)]
    public string DestinationUri { get; set; } = string.Empty;

    /// <summary>The chunks, from Read-FleeceSnapshot.</summary>
    [Parameter(Mandatory = true, ValueFromPipeline = true)]
    public SnapshotChunk? InputObject { get; set; }

    /// <summary>The format; by default the file's extension decides, and raw where it says nothing.</summary>
    [Parameter(ParameterSetName = PathSet)]
    public ImageFormat? Format { get; set; }

    /// <summary>What the clusters of a qcow2 backup are compressed with; by default they are stored as they are.</summary>
    [Parameter(ParameterSetName = PathSet)]
    public ImageCompression Compression { get; set; }

    /// <summary>Replace an existing file.</summary>
    [Parameter(ParameterSetName = PathSet)]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    protected override void BeginProcessing() => OrEnd(Destination, () =>
    {
        _options = ParameterSetName == UriSet
            ? new BackupOptions { Uri = ResolveUri(DestinationUri), Tls = ClientTls }
            : new BackupOptions { Path = ResolveLiteral(DestinationPath), Image = Layout, Overwrite = Force };
        BackupWriter.CheckDestination(_options);
        _isRefused = !ShouldProcess(_options.Destination, "Write a backup");
    });

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        SnapshotChunk chunk = InputObject!;
        if (_isRefused)
        {
            return;
        }

        OrFail(() =>
        {
            _writer ??= Wait(BackupWriter.CreateAsync(_options!, chunk, StopToken));
            _progress ??= new ByteProgress(this, $"Backing up to {_options!.Destination}", _writer.SizeBytes);
            Wait(_writer.WriteAsync(chunk, StopToken));
            _progress.Report(_writer.ArrivedBytes);
        });
        if (chunk.TakeWarning() is { } warning)
        {
            WriteWarning(warning);
        }
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
                    BlockErrorKind.BackupIncomplete,
                    "No chunk arrived, so no backup was made: the snapshot has nothing left to read, or nothing was piped here.",
                    _options!.Destination);
            }

            Backup backup = Wait(_writer.CompleteAsync(StopToken));
            _progress!.Complete();
            WriteObject(backup);
        });
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && _writer is { } writer)
        {
            _writer = null;
            Wait(writer.DisposeAsync());
        }

        base.Dispose(disposing);
    }

    private ImageCreateOptions Layout => new()
    {
        Format = Format ?? Image.FormatForNewFile(DestinationPath),
        Compression = Compression,
    };

    private string Destination => ParameterSetName == UriSet ? DestinationUri : DestinationPath;

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
                    $"{e.Message} What was consumed before is kept in '{kept}'; the rest is still in the session.",
                    e.Path,
                    e.OffsetBytes,
                    e.Operation,
                    e);
        }
    });
}
