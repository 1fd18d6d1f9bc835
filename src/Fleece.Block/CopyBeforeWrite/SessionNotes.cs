// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>The notes of a point in time, where it has a journal and is not over.</summary>
/// <remarks>Threading. Every member is called under the lock of the <see cref="PointInTime"/> that owns it, and before the change that it
/// is of.</remarks>
internal sealed class SessionNotes(ISessionJournal? journal, SessionCondition condition, Granules granules)
{
    private const string Operation = "note";

    /// <summary>The run's old data is in temp. Returns why that could not be noted: the copy has failed then, though temp has its data.
    /// </summary>
    public BlockException? Done(GranuleRun run, bool hasData)
    {
        if (journal is null || condition.IsOver || journal.NoteDone(run, hasData) is not { } cause)
        {
            return null;
        }

        long offsetBytes = granules.Bytes(run).OffsetBytes;
        return Fault(
            cause,
            offsetBytes,
            $"The old data at offset {offsetBytes} is in temp, but the session's log could not note it: {cause.Message}");
    }

    /// <summary>The run is to be refused: to a consumer, or to everybody where that is null.</summary>
    /// <exception cref="BlockException">The session is over, or the discard can't be noted.</exception>
    public void Discard(SnapshotConsumer? consumer, GranuleRun run)
    {
        if (journal is null)
        {
            return;
        }

        condition.ThrowUnlessActive();
        BlockException? cause = consumer is null ? journal.NoteConsumed(run) : journal.NoteConfirmed(consumer.Index, run);
        if (cause is not null)
        {
            long offsetBytes = granules.Bytes(run).OffsetBytes;
            throw Fault(
                cause,
                offsetBytes,
                $"Nothing was discarded at offset {offsetBytes}, because the session's log could not note it: {cause.Message} Discard it " +
                "again when the log has room.");
        }

        FailPoint.Reach("discard-noted");
    }

    /// <summary>The session is to break.</summary>
    public void Broken(BlockException cause)
    {
        if (!condition.IsOver)
        {
            journal?.NoteBroken(cause);
            FailPoint.Reach("break-noted");
        }
    }

    private static BlockException Fault(BlockException cause, long offsetBytes, string message) => new(
        cause.Kind == BlockErrors.NoSpace ? BlockErrors.SessionLogFull : cause.Kind, message, cause.Path, offsetBytes, Operation, cause);
}
