// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>The one-way state of a session: active, then broken or stopped; a broken one can be stopped too.</summary>
/// <remarks>Threading. Any member from any thread. The first cause wins and stays.</remarks>
internal sealed class SessionCondition
{
    private BlockException? _cause;
    private volatile bool _stopped;

    public SessionState Current =>
        _stopped ? SessionState.Stopped : Cause is null ? SessionState.Active : SessionState.Broken;

    /// <summary>True when nothing needs to be kept for readers any more.</summary>
    public bool IsOver
    {
        get
        {
            Schedule.Point("state is asked");
            return _stopped || Cause is not null;
        }
    }

    /// <summary>Why the session broke; null while it is whole.</summary>
    public BlockException? Cause => Volatile.Read(ref _cause);

    /// <summary>Breaks the session. Only the first call has an effect.</summary>
    public void Break(BlockException cause)
    {
        Schedule.Point("session breaks");
        Interlocked.CompareExchange(ref _cause, cause, null);
    }

    public void Stop()
    {
        Schedule.Point("session stops");
        _stopped = true;
    }

    /// <summary>Throws what a snapshot request gets when the session is not active.</summary>
    public void ThrowUnlessActive()
    {
        Schedule.Point("state is asked");
        if (_stopped)
        {
            throw new BlockException(
                BlockErrors.Stopped, "The session has been stopped. Start a new one to get a new point in time.");
        }

        if (Cause is { } cause)
        {
            throw new BlockException(
                BlockErrors.Broken,
                $"The session lost its point in time and can't be read any more: {cause.Message} Stop it, mend the cause " +
                "and start a new one.",
                cause.Path,
                cause.OffsetBytes,
                cause.Operation,
                cause);
        }
    }
}
