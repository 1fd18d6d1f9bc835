// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks;

namespace Fleece;

/// <summary>Get-FleeceSession: the running sessions.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceSession")]
[OutputType(typeof(Session))]
public sealed class GetFleeceSessionCommand : FleeceCommand
{
    /// <summary>Names or "DISK/NAME", wildcards allowed; all sessions when left out.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(SessionNameCompleter))]
    public string[] Name { get; set; } = ["*"];

    /// <summary>Only the sessions of this disk.</summary>
    [Parameter]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    public string? Disk { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (string name in Name)
        {
            ForItem(name, () => WriteMatching(name));
        }
    }

    private void WriteMatching(string name)
    {
        IReadOnlyList<Session> sessions = Disk is null ? Disks.Sessions : Disks.Find(Disk).Sessions;
        if (!WildcardPattern.ContainsWildcardCharacters(name))
        {
            Session[] called = [.. sessions.Where(session => session.IsCalled(name))];
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
            WriteObject(session);
            TellWarning(session.TempWarning);
        }
    }
}
