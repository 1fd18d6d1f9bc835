// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Qemu;

namespace Fleece.Hosting.Local;

/// <summary>The sessions that run in this process: those of its own disks, and those of guests' disks that QEMU serves.</summary>
/// <remarks>Threading. All members are safe from any thread. Ownership. It owns none of them.</remarks>
internal sealed class RunningSessions(MountedDisks mounted, QemuGuests guests, KeptSessions kept)
{
    /// <summary>All of them: first those of the mounted disks.</summary>
    public IReadOnlyList<IRunningSession> All => [.. mounted.Sessions, .. guests.Sessions];

    /// <summary>True when a session runs that a reference means.</summary>
    public bool Has(SessionReference reference)
    {
        ArgumentNullException.ThrowIfNull(reference);
        return All.Any(session =>
            session.IsCalled(reference.Name) && (reference.InstantId is null || reference.InstantId == session.InstantId));
    }

    /// <summary>The session that a reference means: "NAME", or "DISK/NAME" where several disks have a session of that name.</summary>
    /// <param name="reference">The session; null for the only one there is.</param>
    /// <exception cref="BlockException"><see cref="DiskErrors.SessionUnknown"/>, <see cref="DiskErrors.SessionLost"/>,
    /// <see cref="DiskErrors.SessionAmbiguous"/> or <see cref="DiskErrors.RecordStale"/>.</exception>
    public IRunningSession Find(SessionReference? reference)
    {
        if (reference is null or { Name: "" })
        {
            return Find(name: null);
        }

        ReferencedThings.CheckIsName(reference.Name, DiskErrors.SessionUnknown, RecordKind.Session);

        // Two QEMUs may have guests and devices of the same names, and a record says which one is meant.
        if (reference.InstantId is { } instantId && All.FirstOrDefault(session => session.InstantId == instantId) is { } known &&
            known.IsCalled(reference.Name))
        {
            return known;
        }

        if (!All.Any(session => session.IsCalled(reference.Name)) && kept.Find(reference) is { } lost)
        {
            throw Lost(lost.Describe());
        }

        IRunningSession found = Find(reference.Name);
        reference.Check(found.InstantId);
        return found;
    }

    /// <summary>The error of a name that no running session has; null for "none is running at all".</summary>
    /// <param name="name">The name.</param>
    /// <param name="onTheirWay">As <see cref="KeptSessions.OnTheirWay"/>.</param>
    public static BlockException NoSuchSession(string? name, string onTheirWay = "")
    {
        string none = name is null ? "No session is running." : $"No session named '{name}' is running.";
        return new BlockException(
            DiskErrors.SessionUnknown,
            onTheirWay.Length != 0 ? none + onTheirWay
            : name is null ? $"{none} Start-FleeceSession starts one."
            : $"{none} Get-FleeceSession lists the running ones, and Resume-FleeceSession -StatePath takes up those of an earlier " +
                "process.");
    }

    /// <summary>The error of a session that is lost, or waits to be resumed.</summary>
    public static BlockException Lost(SessionInfo session)
    {
        ArgumentNullException.ThrowIfNull(session);
        return new BlockException(
            DiskErrors.SessionLost,
            session.CanResume
                ? $"The session '{session.Id}' waits to be resumed. {session.BrokenBy} " +
                    $"Stop-FleeceSession {PowerShellText.Argument(session.Id)} -Force gives it up."
                : $"The session '{session.Id}' is lost. {session.BrokenBy} What is kept of it stays until it is removed with " +
                    $"Stop-FleeceSession {PowerShellText.Argument(session.Id)} -Force.",
            path: null);
    }

    /// <summary>The error of a record that says "lost" of a session that has come back since, and is not ended.</summary>
    public static BlockException CameBack(string id) => new(
        DiskErrors.RecordStale,
        $"The session '{id}' was not stopped: the record says that it is lost or waits, and it has come back since and runs. Get the " +
        $"record anew with Get-FleeceSession, or give the name: Stop-FleeceSession {PowerShellText.Argument(id)}.");

    /// <summary>Refuses a name that several sessions have, one of them lost: -Force ends the one that runs, and removes the one that
    /// does not.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.SessionAmbiguous"/></exception>
    public static void CheckOneToForce(string name, IReadOnlyList<SessionInfo> sessions)
    {
        SessionInfo[] fitting = [.. sessions.Where(session => session.IsCalled(name))];
        if (fitting.Length > 1 && fitting.Any(session => session.State == SessionState.Lost))
        {
            string lostId = PowerShellText.Literal(Array.Find(fitting, session => session.State == SessionState.Lost)!.Id);
            IEnumerable<string> those = fitting.Select(session => FormattableString.Invariant(
                $"'{session.Id}', {(session.State == SessionState.Lost ? "lost" : "running")}, of {session.StartedAt:u}"));
            throw new BlockException(
                DiskErrors.SessionAmbiguous,
                $"Several sessions are called '{name}': {string.Join("; ", those)}. None was stopped or removed. Pipe the one that is " +
                $"meant, for one the lost one: Get-FleeceSession {lostId} | Where-Object State -EQ Lost | Stop-FleeceSession -Force.");
        }
    }

    private IRunningSession Find(string? name)
    {
        IRunningSession[] fitting = [.. All.Where(session => name is null || session.IsCalled(name))];
        return fitting.Length switch
        {
            1 => fitting[0],
            0 => throw NoSuchSession(name, kept.OnTheirWay),
            _ => throw new BlockException(
                DiskErrors.SessionAmbiguous,
                $"Several sessions fit: {string.Join(", ", fitting.Select(session => session.Id))}. Name one of them."),
        };
    }
}
