// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Disks.Resuming;
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

    private readonly HashSet<Guid> _toldMounts = [];

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
        if (!ShouldProcess(Describe(reference, statePath), "Resume"))
        {
            return;
        }

        IReadOnlyList<SessionInfo> sessions = Wait(Owner.Sessions.ResumeSessionsAsync(reference, statePath, StopToken));
        if (sessions.Count == 0)
        {
            WriteWarning(
                $"There is nothing to resume{(statePath is null ? string.Empty : $" in '{statePath}'")}: no session is kept there. An " +
                "image whose session's log is gone refuses to be mounted, until Mount-FleeceDisk -DiscardSessions gives the session up.");
            return;
        }

        TellDisks(sessions);
        foreach (SessionInfo session in sessions)
        {
            if (session.State == Block.CopyBeforeWrite.SessionState.Lost)
            {
                ForItem(session.Id, () => throw RunningSessions.Lost(session));
            }
            else
            {
                TellBroken(session);
                WriteObject(session);
            }
        }
    }

    private void TellBroken(SessionInfo session)
    {
        if (session.State == Block.CopyBeforeWrite.SessionState.Broken)
        {
            WriteWarning(
                $"The session '{session.Id}' was broken before its process ended, and its snapshot stays lost. {session.BrokenBy}");
        }
    }

    // As the cmdlet that mounts a disk tells them.
    private void TellDisks(IReadOnlyList<SessionInfo> sessions)
    {
        HashSet<string> names = sessions.Select(session => session.Disk).ToHashSet(StringComparer.OrdinalIgnoreCase);
        foreach (DiskInfo disk in Wait(Owner.Disks.ListDisksAsync(StopToken)).Where(disk => names.Contains(disk.Name)))
        {
            if (_toldMounts.Add(disk.MountId))
            {
                DiskNotes.Tell(this, disk);
            }
        }
    }

    // For -WhatIf and -Confirm: each session that is kept, and how it stands. Nothing is changed, and no folder is remembered.
    private string Describe(SessionReference? reference, string? statePath)
    {
        if (statePath is not null && Owner is not LocalOwner)
        {
            throw KeptSessions.NotOfHost(statePath);
        }

        SessionFolder[] folders = Owner is not LocalOwner local ? []
            : statePath is null ? [.. local.Kept.Folders]
            : [KeptSessions.Peek(statePath)];
        IEnumerable<SessionInfo> kept = statePath is not null
            ? folders.SelectMany(LostSession.List).Select(session => session.Describe())
            : Wait(Owner.Sessions.ListSessionsAsync(StopToken)).Where(session => session.LogId is not null);
        string[] named =
        [
            .. kept.Where(session => reference is null || session.IsCalled(reference.Name)).Select(session =>
                session.State != Block.CopyBeforeWrite.SessionState.Lost ? $"'{session.Id}' (runs)"
                : session.CanResume ? $"'{session.Id}' (waits)"
                : $"'{session.Id}' (lost)")
                .Concat(folders.SelectMany(folder => KeptSessions.DescribeRunning(folder, reference))).Distinct(),
        ];
        string place = statePath is null ? string.Empty : $" in '{statePath}'";
        return named.Length == 0 ? $"{reference?.Name ?? "no session"}{place}" : $"{string.Join(", ", named)}{place}";
    }
}
