// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting;
using Fleece.Disks;
using Fleece.Disks.Records;

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
        IReadOnlyList<Session> sessions = (reference.Disk ?? Disk) is { } disk
            ? [.. Disks.FindFitting(disk).SelectMany(found => found.Sessions)]
            : Disks.Sessions;
        if (!WildcardPattern.ContainsWildcardCharacters(name))
        {
            Session[] called = [.. sessions.Where(session => session.IsCalled(name))];
            Array.ForEach(called, reference.Check);
            Write(called.Length != 0 ? called : throw MountedDisks.NoSuchSession(name));
            return;
        }

        WildcardPattern pattern = NamePattern.Parse(name);
        Write(sessions.Where(session => pattern.IsMatch(session.Name) || pattern.IsMatch(session.Id)));
    }

    private void Write(IEnumerable<Session> sessions)
    {
        foreach (Session session in sessions)
        {
            WriteObject(new SessionInfo(session));
            TellWarning(session.TempWarning);
        }
    }
}
