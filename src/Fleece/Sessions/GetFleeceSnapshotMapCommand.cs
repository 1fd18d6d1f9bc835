// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Records;
using Fleece.Hosting;

namespace Fleece;

/// <summary>Get-FleeceSnapshotMap: the runs of a snapshot with their state.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceSnapshotMap")]
[OutputType(typeof(SnapshotRun))]
public sealed class GetFleeceSnapshotMapCommand : FleeceCommand
{
    /// <summary>The session's name, "DISK/NAME", the session, or one of its consumers; may be left out when one is running.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(SessionNameCompleter))]
    [SessionArgument]
    [ValidateNotNull]
    public SessionReference? Session { get; set; }

    /// <summary>Which of the session's consumers' view to show: what it has confirmed is consumed for it.</summary>
    [Parameter]
    [ArgumentCompleter(typeof(ConsumerNameCompleter))]
    [ValidateNotNullOrEmpty]
    public string? Consumer { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Session?.Name, () =>
    {
        SessionReference session = WithConsumer(Session, Consumer);
        SessionInfo found = Wait(Owner.Sessions.FindSessionAsync(session, StopToken));
        session = session with { Name = found.Id, InstantId = found.InstantId };
        for (long atBytes = 0; atBytes < found.SizeBytes;)
        {
            foreach (SnapshotRun run in Wait(Owner.Sessions.ListRunsAsync(session, atBytes, StopToken)))
            {
                WriteObject(StopToken.IsCancellationRequested ? throw new PipelineStoppedException() : run);
                atBytes = run.OffsetBytes + run.LengthBytes;
            }
        }
    });
}
