// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Reading;
using Fleece.Disks;
using Fleece.Hosting;
using Fleece.Hosting.Control;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece;

/// <summary>Read-FleeceSnapshot: a snapshot's readable content, chunk by chunk.</summary>
[Cmdlet(VerbsCommunications.Read, "FleeceSnapshot", DefaultParameterSetName = SessionSet)]
[OutputType(typeof(SnapshotChunk))]
public sealed class ReadFleeceSnapshotCommand : NetworkCommand
{
    private const string SessionSet = "Session";
    private const string UriSet = "Uri";

    private SnapshotRead? _read;
    private readonly List<IAsyncDisposable> _opened = [];

    /// <summary>The session's name, "DISK/NAME", the session, or one of its consumers; may be left out when one is running.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true, ParameterSetName = SessionSet)]
    [ArgumentCompleter(typeof(SessionNameCompleter))]
    [SessionArgument]
    [ValidateNotNull]
    public SessionReference? Session { get; set; }

    /// <summary>A snapshot that a server exports: nbd://HOST:PORT/DISK/SESSION, nbd+unix:///DISK/SESSION?socket=PATH, with
    /// nbds for TLS.</summary>
    [Parameter(Mandatory = true, ParameterSetName = UriSet)]
    public string Uri { get; set; } = string.Empty;

    /// <summary>Which of the session's consumers this is: what it has confirmed before is left out, and what it confirms is discarded
    /// when the others have confirmed it too.</summary>
    [Parameter(ParameterSetName = SessionSet)]
    [ArgumentCompleter(typeof(ConsumerNameCompleter))]
    [ValidateNotNullOrEmpty]
    public string? Consumer { get; set; }

    /// <summary>Discard each chunk from the snapshot when its consumer has disposed it.</summary>
    [Parameter]
    public SwitchParameter DiscardConsumed { get; set; }

    /// <summary>First byte.</summary>
    [Parameter]
    [ValidateRange(0, long.MaxValue)]
    public long OffsetBytes { get; set; }

    /// <summary>Number of bytes; the rest of the disk when left out.</summary>
    [Parameter]
    [ValidateRange(0, long.MaxValue)]
    public long? LengthBytes { get; set; }

    /// <summary>64 KiB to 64 MiB, a power of two, at least the session's granule.</summary>
    [Parameter]
    [ValidatePowerOfTwo(SnapshotReadOptions.MinimumChunkSizeBytes, SnapshotReadOptions.MaximumChunkSizeBytes)]
    [ArgumentCompleter(typeof(PowerOfTwoCompleter))]
    public int ChunkSizeBytes { get; set; } = SnapshotReadOptions.DefaultChunkSizeBytes;

    /// <summary>First what the guest is about to overwrite, or from the disk's start to its end.</summary>
    [Parameter]
    public SnapshotReadOrder Order { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => OrEnd(ParameterSetName == UriSet ? Uri : Session?.Name, () =>
    {
        ISnapshotSource source = ParameterSetName == UriSet ? Connect() : FindSource();
        SnapshotReadOptions options = new()
        {
            OffsetBytes = OffsetBytes,
            LengthBytes = LengthBytes,
            ChunkSizeBytes = ChunkSizeBytes,
            DiscardConsumed = DiscardConsumed,
            Order = Order,
        };
        _read = new SnapshotRead(source, options);
        TellWarning(source.TakeWarning());
        while (Wait(_read.NextAsync(StopToken)) is { } chunk)
        {
            WriteObject(chunk);
            TellWarning(source.TakeWarning());
        }

        Close();
    });

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            Close();

            // Not before the pipeline's end: chunks that are further down discard through these connections.
            foreach (IAsyncDisposable opened in _opened)
            {
                Wait(opened.DisposeAsync());
            }

            _opened.Clear();
        }

        base.Dispose(disposing);
    }

    private ISnapshotSource FindSource()
    {
        OpenedSnapshot opened = Wait(Owner.OpenSnapshotAsync(WithConsumer(Session, Consumer), DiscardConsumed, StopToken));
        _opened.Add(opened);
        return opened.Source;
    }

    private RemoteSnapshot Connect()
    {
        RemoteSnapshot remote = Wait(RemoteSnapshot.ConnectAsync(
            ResolveUri(Uri), new NbdNodeOptions { Tls = ClientTls }, DiscardConsumed, StopToken));
        _opened.Add(remote);
        return remote;
    }

    private void Close()
    {
        if (_read is { } read)
        {
            _read = null;
            Wait(read.DisposeAsync());
        }
    }
}
