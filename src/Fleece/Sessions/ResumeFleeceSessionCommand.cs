// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Local;

namespace Fleece;

/// <summary>Resume-FleeceSession: takes sessions up again that a process before has left, by a kill or by its end.</summary>
[Cmdlet(VerbsLifecycle.Resume, "FleeceSession", SupportsShouldProcess = true)]
[OutputType(typeof(SessionInfo))]
public sealed class ResumeFleeceSessionCommand : FleeceCommand
{
    /// <summary>Names, "DISK/NAME", or the sessions; all that are kept when left out.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(SessionNameCompleter))]
    [SessionArgument]
    [ValidateNotNull]
    [Alias("Session")]
    public SessionReference[]? Name { get; set; }

    /// <summary>The state directory in which Start-FleeceSession -StatePath keeps them. A host has its own.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    [NoScriptBlock]
    public string? StatePath { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (SessionReference? reference in Name ?? [null!])
        {
            ForItem(reference?.Name ?? StatePath, () => Resume(reference));
        }
    }

    private void Resume(SessionReference? reference)
    {
        string? statePath = StatePath is null ? null : ResolveLiteral(StatePath);
        if (!ShouldProcess(reference?.Name ?? statePath ?? "all sessions", "Resume"))
        {
            return;
        }

        foreach (SessionInfo session in Wait(Owner.Sessions.ResumeSessionsAsync(reference, statePath, StopToken)))
        {
            if (session.State == Block.CopyBeforeWrite.SessionState.Lost)
            {
                ForItem(session.Id, () => throw RunningSessions.Lost(session));
            }
            else
            {
                WriteObject(session);
            }
        }
    }
}
