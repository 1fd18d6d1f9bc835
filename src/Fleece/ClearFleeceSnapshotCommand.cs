// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Sessions;

namespace Fleece;

/// <summary>Clear-FleeceSnapshot: discards a range of a snapshot that is no longer needed.</summary>
[Cmdlet(VerbsCommon.Clear, "FleeceSnapshot", SupportsShouldProcess = true)]
public sealed class ClearFleeceSnapshotCommand : FleeceCommand
{
    /// <summary>The session's name, "DISK/NAME", or the session; may be left out when only one is running.</summary>
    [Parameter(Position = 0, ValueFromPipelineByPropertyName = true)]
    [ArgumentCompleter(typeof(SessionNameCompleter))]
    [Alias("Id")]
    public string? Session { get; set; }

    /// <summary>First byte; only granules that lie wholly in the range are discarded.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true)]
    public long OffsetBytes { get; set; }

    /// <summary>Number of bytes.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true)]
    public long LengthBytes { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Session, () =>
    {
        Session session = Disks.FindSession(Session);
        BlockRange range = new(OffsetBytes, LengthBytes);
        range.CheckWithin(session.SizeBytes, session.Id, "discard");
        if (ShouldProcess(session.Id, $"Discard {range.LengthBytes} bytes at offset {range.OffsetBytes}"))
        {
            Wait(session.Snapshot.DiscardAsync(range.OffsetBytes, range.LengthBytes, StopToken));
        }
    });
}
