// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting;

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
        SessionInfo session = Wait(Owner.Sessions.FindSessionAsync(Session, StopToken));
        BlockRange range = new(OffsetBytes, LengthBytes);
        range.CheckWithin(session.SizeBytes, session.Id, "discard");

        // A chunk that was read for nobody brings an empty name along; one that a user writes must not mean "all of them".
        string? name = _isConsumerNamed || !string.IsNullOrEmpty(Consumer) ? Consumer ?? string.Empty : Session?.Consumer;
        string whose = name is null ? string.Empty : $" for {name}";
        SessionReference view = new(session.Id, session.InstantId) { Consumer = name };
        if (ShouldProcess(session.Id, $"Discard {range.LengthBytes} bytes at offset {range.OffsetBytes}{whose}") &&
            IsWanted(view, range))
        {
            SessionInfo after = Wait(Owner.Sessions.DiscardAsync(view, range, StopToken));
            Pass(() => after);
        }
    });

    private bool IsWanted(SessionReference view, BlockRange range) =>
        Force || Wait(Owner.Sessions.FindUnstoredAsync(view, range, StopToken)).IsEmpty || Confirms(
            $"No consumer of '{view.Name}' has confirmed that it has stored all of the {range.LengthBytes} bytes at offset " +
            $"{range.OffsetBytes}, and what is discarded can't be read again.");
}
