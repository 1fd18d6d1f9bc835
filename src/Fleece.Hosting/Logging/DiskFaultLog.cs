// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Hosting.Auditing;

namespace Fleece.Hosting.Logging;

/// <summary>Tells of disks that fail, of sessions that break, and of guests' writes that are refused, in the log and in the audit trail.
/// </summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
/// <param name="say">Writes a line into the log.</param>
/// <param name="trail">The audit trail, which has losses but no refusals: these end.</param>
internal sealed class DiskFaultLog(Action<string> say, AuditTrail trail)
{
    /// <summary>Tells of a fault.</summary>
    public void Tell(DiskFault fault)
    {
        ArgumentNullException.ThrowIfNull(fault);
        string text = fault.Kind switch
        {
            DiskFaultKind.DiskFailed => $"disk {fault.Subject} failed",
            DiskFaultKind.SessionBroke => $"session {fault.Subject} broke, and its snapshot is lost",
            _ => $"session {fault.Subject} has writes of guests refused (-OnCopyError BreakGuestWrite)",
        };
        say($"{text}: {fault.Cause.Message}");
        if (fault.Kind != DiskFaultKind.WritesRefused)
        {
            string action = fault.Kind == DiskFaultKind.DiskFailed ? "disk.fail" : "session.break";
            trail.Add(AuditEntry.OfHost(new AuditedAction(action, text, fault.Subject), AuditOutcome.Failed, fault.Cause));
        }
    }
}
