// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;

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
        Session session = Disks.FindSession(Session);
        string? consumer = Consumer ?? Session?.Consumer;
        foreach (SnapshotRun run in consumer is null ? session.GetRuns() : session.FindConsumer(consumer).GetRuns())
        {
            WriteObject(StopToken.IsCancellationRequested ? throw new PipelineStoppedException() : run);
        }
    });
}
