// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Disks;

/// <summary>Breaks a session, and tells of it once; and tells that it has guests' writes refused, again after a quiet minute.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal sealed class SessionFaults
{
    private static readonly long QuietMilliseconds = (long)TimeSpan.FromMinutes(1).TotalMilliseconds;

    private readonly Lock _lock = new();
    private readonly Session _session;
    private int _isBreakTold;
    private long? _refusedAtMilliseconds;

    /// <summary>Listens to the session's copies. One that was broken before this process took it up is not told again.</summary>
    public SessionFaults(Session session)
    {
        _session = session;
        _isBreakTold = session.State == SessionState.Broken ? 1 : 0;
        session.Point.Metrics.CopyFailed = NoteFailedCopy;
    }

    /// <summary>Breaks the session; the first cause stays.</summary>
    public void Break(BlockException cause)
    {
        _session.Point.Break(cause);
        if (_session.Point is { State: SessionState.Broken, BrokenBy: { } first })
        {
            TellBreak(first);
        }
    }

    // The policy says right behind this who loses.
    private void NoteFailedCopy(Exception error)
    {
        if (_session.State != SessionState.Active)
        {
            return;
        }

        BlockException cause = error as BlockException ?? new BlockException(BlockErrors.IoFailed, error.Message, cause: error);
        if (_session.OnCopyError == CopyErrorPolicy.BreakSnapshot || cause.Kind == BlockErrors.InvariantBroken)
        {
            TellBreak(cause);
            return;
        }

        bool isFirst;
        lock (_lock)
        {
            long now = Environment.TickCount64;
            isFirst = _refusedAtMilliseconds is not { } last || now - last >= QuietMilliseconds;
            _refusedAtMilliseconds = now;
        }

        if (isFirst)
        {
            _session.Disk.Failed?.Invoke(new DiskFault(DiskFaultKind.WritesRefused, _session.Id, cause));
        }
    }

    private void TellBreak(BlockException cause)
    {
        if (Interlocked.Exchange(ref _isBreakTold, 1) == 0)
        {
            _session.Disk.Failed?.Invoke(new DiskFault(DiskFaultKind.SessionBroke, _session.Id, cause));
        }
    }
}
