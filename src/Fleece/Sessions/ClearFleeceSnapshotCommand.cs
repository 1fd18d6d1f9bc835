// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Records;

namespace Fleece;

/// <summary>Clear-FleeceSnapshot: discards a range of a snapshot that is no longer needed.</summary>
[Cmdlet(VerbsCommon.Clear, "FleeceSnapshot", SupportsShouldProcess = true)]
[OutputType(typeof(SessionInfo))]
public sealed class ClearFleeceSnapshotCommand : SilentCommand
{
    private bool _isConsumerNamed;

    /// <summary>The session's name, "DISK/NAME", the session, or one of its consumers; may be left out when one is running.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(SessionNameCompleter))]
    [SessionArgument]
    [ValidateNotNull]
    [Alias("Id")]
    public SessionReference? Session { get; set; }

    /// <summary>First byte; only granules that lie wholly in the range are discarded.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true)]
    [ValidateRange(0, long.MaxValue)]
    public long OffsetBytes { get; set; }

    /// <summary>Number of bytes.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true)]
    [ValidateRange(0, long.MaxValue)]
    public long LengthBytes { get; set; }

    /// <summary>Which of the session's consumers no longer needs the range; all of them when left out.</summary>
    [Parameter(ValueFromPipelineByPropertyName = true)]
    [ArgumentCompleter(typeof(ConsumerNameCompleter))]
    [AllowEmptyString]
    public string? Consumer { get; set; }

    /// <summary>Do not ask, where no consumer has confirmed that it has stored the range.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    protected override void BeginProcessing() => _isConsumerNamed = MyInvocation.BoundParameters.ContainsKey(nameof(Consumer));

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Session?.Name, () =>
    {
        Session session = Disks.FindSession(Session);
        BlockRange range = new(OffsetBytes, LengthBytes);
        range.CheckWithin(session.SizeBytes, session.Id, "discard");

        // A chunk that was read for nobody brings an empty name along; one that a user writes must not mean "all of them".
        string? name = _isConsumerNamed || !string.IsNullOrEmpty(Consumer) ? Consumer ?? string.Empty : Session?.Consumer;
        SessionConsumer? consumer = name is null ? null : session.FindConsumer(name);
        string whose = consumer is null ? string.Empty : $" for {consumer}";
        if (ShouldProcess(session.Id, $"Discard {range.LengthBytes} bytes at offset {range.OffsetBytes}{whose}") &&
            IsWanted(session, consumer, range))
        {
            Wait((consumer?.Snapshot ?? session.Snapshot).DiscardAsync(range.OffsetBytes, range.LengthBytes, StopToken));
            Pass(() => new SessionInfo(session));
        }
    });

    private bool IsWanted(Session session, SessionConsumer? consumer, BlockRange range)
    {
        ISnapshotSource[] views = [consumer is null ? session : consumer, .. session.Consumers];
        return Force || FindUnstored(views, range).IsEmpty || Confirms(
            $"No consumer of '{session.Id}' has confirmed that it has stored all of the {range.LengthBytes} bytes at offset " +
            $"{range.OffsetBytes}, and what is discarded can't be read again.");
    }

    // What all of them could still read: a consumer refuses what it has confirmed.
    private BlockRange FindUnstored(ISnapshotSource[] views, BlockRange range)
    {
        BlockRange found = range;
        for (int agreed = 0; agreed < views.Length && !found.IsEmpty;)
        {
            BlockRange readable = Wait(views[agreed].FindReadableAsync(found.OffsetBytes, found.EndBytes, StopToken));
            bool isAtStart = readable.OffsetBytes == found.OffsetBytes && !readable.IsEmpty;
            found = isAtStart ? readable : BlockRange.FromEnds(readable.OffsetBytes, range.EndBytes);
            agreed = isAtStart ? agreed + 1 : 0;
        }

        return found;
    }
}
