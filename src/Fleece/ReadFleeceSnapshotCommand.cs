// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Sessions;
using Fleece.Sessions.Reading;

namespace Fleece;

/// <summary>Read-FleeceSnapshot: a snapshot's readable content, chunk by chunk.</summary>
[Cmdlet(VerbsCommunications.Read, "FleeceSnapshot")]
[OutputType(typeof(SnapshotChunk))]
public sealed class ReadFleeceSnapshotCommand : FleeceCommand
{
    private SnapshotRead? _read;

    /// <summary>The session's name, "DISK/NAME", or the session; may be left out when only one is running.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(SessionNameCompleter))]
    public string? Session { get; set; }

    /// <summary>Discard each chunk from the snapshot when its consumer has disposed it.</summary>
    [Parameter]
    public SwitchParameter DiscardConsumed { get; set; }

    /// <summary>First byte.</summary>
    [Parameter]
    public long OffsetBytes { get; set; }

    /// <summary>Number of bytes; the rest of the disk when left out.</summary>
    [Parameter]
    public long? LengthBytes { get; set; }

    /// <summary>64 KiB to 64 MiB, a power of two, at least the session's granule.</summary>
    [Parameter]
    public int ChunkSizeBytes { get; set; } = SnapshotReadOptions.DefaultChunkSizeBytes;

    /// <inheritdoc/>
    protected override void ProcessRecord() => OrEnd(Session, () =>
    {
        Session session = Disks.FindSession(Session);
        SnapshotReadOptions options = new()
        {
            OffsetBytes = OffsetBytes,
            LengthBytes = LengthBytes,
            ChunkSizeBytes = ChunkSizeBytes,
            DiscardConsumed = DiscardConsumed,
        };
        _read = new SnapshotRead(session, options);
        while (Wait(_read.NextAsync(StopToken)) is { } chunk)
        {
            WriteObject(chunk);
        }

        Close();
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

    private void Close()
    {
        if (_read is { } read)
        {
            _read = null;
            Wait(read.DisposeAsync());
        }
    }
}
