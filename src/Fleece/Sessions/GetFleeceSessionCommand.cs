// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Local;

namespace Fleece;

/// <summary>Get-FleeceSession: the running sessions.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceSession")]
[OutputType(typeof(SessionInfo))]
public sealed class GetFleeceSessionCommand : FleeceCommand
{
    /// <summary>Names or "DISK/NAME", wildcards allowed, or the sessions; of disks, theirs; all sessions when left out.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(SessionNameCompleter))]
    [SessionArgument(TakesDisks = true)]
    [ValidateNotNull]
    public SessionReference[] Name { get; set; } = [new("*")];

    /// <summary>Only the sessions of this disk, wildcards allowed.</summary>
    [Parameter]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    public DiskReference? Disk { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (SessionReference session in Name)
        {
            ForItem(session.Name, () => WriteMatching(session));
        }
    }

    private void WriteMatching(SessionReference reference)
    {
        string name = reference.Name;
        IEnumerable<SessionInfo> sessions = Wait(Owner.Sessions.ListSessionsAsync(StopToken));
        if ((reference.Disk ?? Disk) is { } disk)
        {
            sessions = OfDisk(disk, [.. sessions]);
        }

        if (!WildcardPattern.ContainsWildcardCharacters(name))
        {
            SessionInfo[] called = [.. sessions.Where(session => session.IsCalled(name))];
            Array.ForEach(called, session => reference.Check(session.InstantId));
            Write(called.Length != 0 ? called
                : (reference.Disk ?? Disk) is not null ? throw RunningSessions.NoSuchSession(name)
                : [Wait(Owner.Sessions.FindSessionAsync(reference, StopToken))]); // Which knows whether the host still starts.
            return;
        }

        WildcardPattern pattern = NamePattern.Parse(name);
        Write(sessions.Where(session => pattern.IsMatch(session.Name) || pattern.IsMatch(session.Id)));
    }

    // A guest's disk is known by its sessions alone.
    private SessionInfo[] OfDisk(DiskReference disk, SessionInfo[] sessions)
    {
        WildcardPattern pattern = NamePattern.Parse(disk.Name);
        SessionInfo[] ofGuests = disk.MountId is null
            ? Array.FindAll(sessions, session => session.QmpSocketPath is not null && pattern.IsMatch(session.Disk))
            : [];
        if (ofGuests.Length != 0 && !WildcardPattern.ContainsWildcardCharacters(disk.Name))
        {
            return ofGuests;
        }

        HashSet<Guid> mounts = [.. FindDisks(disk).Select(found => found.MountId)];
        return [.. sessions.Where(session => mounts.Contains(session.MountId)), .. ofGuests];
    }

    private void Write(IEnumerable<SessionInfo> sessions)
    {
        foreach (SessionInfo session in sessions)
        {
            WriteObject(session);
            TellWarning(session.TempWarning);
        }
    }
}
