// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Records;
using Fleece.Hosting;

namespace Fleece;

/// <summary>Stop-FleeceSession: ends sessions and deletes their temp files.</summary>
[Cmdlet(VerbsLifecycle.Stop, "FleeceSession", SupportsShouldProcess = true)]
[OutputType(typeof(SessionInfo))]
public sealed class StopFleeceSessionCommand : SilentCommand
{
    /// <summary>Names, "DISK/NAME", or the sessions.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(SessionNameCompleter))]
    [SessionArgument]
    [ValidateNotNull]
    [Alias("Session")]
    public SessionReference[] Name { get; set; } = [];

    /// <summary>
    /// What was to be read has been read: the session's bitmap then holds what was recorded since the instant, instead of having it
    /// added.
    /// </summary>
    [Parameter]
    public SwitchParameter Success { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (SessionReference reference in Name)
        {
            ForItem(reference.Name, () =>
            {
                SessionInfo session = Wait(Owner.Sessions.FindSessionAsync(reference, StopToken));
                if (!ShouldProcess(session.Id, "Stop"))
                {
                    return;
                }

                if (Success)
                {
                    WarnOf(session);
                }

                SessionReference same = new(session.Id, session.InstantId);
                SessionInfo stopped = Wait(Owner.Sessions.StopSessionAsync(same, Success, StopToken));
                Pass(() => stopped);
            });
        }
    }

    // Success is the user's word; these say where the session knows otherwise.
    private void WarnOf(SessionInfo session)
    {
        if (session.State == Block.CopyBeforeWrite.SessionState.Broken && session.Bitmap is { } bitmap)
        {
            WriteWarning(
                $"The session '{session.Id}' is broken, so the bitmap '{bitmap}' keeps what it had, and what was recorded since is " +
                "added.");
        }

        foreach (ConsumerInfo consumer in session.Consumers.Where(consumer => consumer.RemainingBytes != 0))
        {
            WriteWarning(
                $"The session '{session.Id}' is stopped with -Success, and its consumer '{consumer}' has not confirmed " +
                $"{consumer.RemainingBytes} bytes.");
        }
    }
}
