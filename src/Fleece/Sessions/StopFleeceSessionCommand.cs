// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Local;

namespace Fleece;

/// <summary>Stop-FleeceSession: ends sessions and deletes their temp files, or takes out of a guest's QEMU what sessions have left.
/// </summary>
[Cmdlet(VerbsLifecycle.Stop, "FleeceSession", SupportsShouldProcess = true, DefaultParameterSetName = NameSet)]
[OutputType(typeof(SessionInfo))]
public sealed class StopFleeceSessionCommand : SilentCommand
{
    private const string NameSet = "Name";
    private const string GuestSet = "Guest";

    /// <summary>Names, "DISK/NAME", or the sessions; may be left out when one is running.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true, ParameterSetName = NameSet)]
    [ArgumentCompleter(typeof(SessionNameCompleter))]
    [SessionArgument]
    [ValidateNotNull]
    [Alias("Session")]
    public SessionReference[]? Name { get; set; }

    /// <summary>
    /// What was to be read has been read: the session's bitmap then holds what was recorded since the instant, instead of having it
    /// added.
    /// </summary>
    [Parameter(ParameterSetName = NameSet)]
    public SwitchParameter Success { get; set; }

    /// <summary>The QMP socket of a QEMU from which all is taken out that sessions of processes that died have left there.</summary>
    [Parameter(Mandatory = true, ParameterSetName = GuestSet)]
    [ValidateNotNullOrEmpty]
    [NoScriptBlock]
    public string QmpSocketPath { get; set; } = string.Empty;

    /// <summary>Remove what is kept of a lost session. With -QmpSocketPath: take out what sessions of processes that live have there, too;
    /// they end without success.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        if (ParameterSetName == GuestSet)
        {
            ForItem(QmpSocketPath, CleanUp);
            return;
        }

        foreach (SessionReference reference in Name ?? [SessionReference.Only])
        {
            ForItem(reference.Name, () =>
            {
                SessionInfo session = Wait(Owner.Sessions.FindSessionAsync(reference, StopToken));
                if (reference.IsLost && session.State != Block.CopyBeforeWrite.SessionState.Lost)
                {
                    throw RunningSessions.CameBack(session.Id);
                }

                if (Force && reference is { InstantId: null, Name: not "" })
                {
                    RunningSessions.CheckOneToForce(reference.Name, Wait(Owner.Sessions.ListSessionsAsync(StopToken)));
                }

                if (!ShouldProcess(session.Id, "Stop"))
                {
                    return;
                }

                if (Success)
                {
                    WarnOf(session);
                }

                SessionReference same = new(session.Id, session.InstantId);
                SessionInfo stopped = session.State != Block.CopyBeforeWrite.SessionState.Lost
                    ? Wait(Owner.Sessions.StopSessionAsync(same, Success, StopToken))
                    : Force ? Remove(session, same) : throw RunningSessions.Lost(session);
                Pass(() => stopped);
            });
        }
    }

    private SessionInfo Remove(SessionInfo session, SessionReference same)
    {
        SessionInfo removed = Wait(Owner.Sessions.RemoveLostSessionAsync(same, StopToken));
        if (removed.BrokenBy is { } left && left != session.BrokenBy)
        {
            WriteWarning($"{session.Id}: {left}");
        }

        return removed;
    }

    private void CleanUp()
    {
        string socketPath = ResolveLiteral(QmpSocketPath);
        if (PassThru)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                "-PassThru outputs sessions that were stopped, and nothing is known of those that others have left. Leave it out.");
        }

        string those = Force ? "all sessions have" : "sessions that died have left";
        if (!ShouldProcess(socketPath, $"Take out what {those} in the guest's QEMU"))
        {
            return;
        }

        IReadOnlyList<string> removed = Wait(Owner.Guests.CleanUpGuestAsync(socketPath, Force, StopToken));
        foreach (string sentence in removed)
        {
            WriteWarning(sentence);
        }

        if (removed.Count == 0)
        {
            WriteVerbose($"The QEMU at '{socketPath}' has nothing of a session to take out.");
        }
    }

    // Success is the user's word; these say where the session knows otherwise.
    private void WarnOf(SessionInfo session)
    {
        if (session.State == Block.CopyBeforeWrite.SessionState.Broken)
        {
            WriteWarning(
                $"The session '{session.Id}' is broken: a copy of its snapshot is whole only where it had ended before." +
                (session.Bitmap is { } bitmap ? $" The bitmap '{bitmap}' keeps what it had, and what was recorded since is added." : ""));
        }

        foreach (ConsumerInfo consumer in session.Consumers.Where(consumer => consumer.RemainingBytes != 0))
        {
            WriteWarning(
                $"The session '{session.Id}' is stopped with -Success, and its consumer '{consumer}' has not confirmed " +
                $"{consumer.RemainingBytes} bytes.");
        }
    }
}
