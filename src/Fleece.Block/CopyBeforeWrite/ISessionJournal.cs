// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>Where a point in time notes its changes before it makes them, so that a later process can go on with it.</summary>
/// <remarks>
/// <para>A note is in the system's memory when the call returns, and outlives the process from then on. <see cref="PointInTimeMaps"/> says
/// how the notes are read back; noting something twice is noting it once.</para>
/// <para>Order. Old data is in temp before <see cref="NoteDone"/>, and the guest's write comes behind it. A consumed range is noted before
/// it is freed in temp, and the end of the point in time before the first write that copies nothing.</para>
/// <para>Threading. One call at a time, under the lock of the <see cref="PointInTime"/>, for which guest writes wait: implementations are
/// quick, and call nothing of the point in time. No call comes behind <see cref="PointInTime.Stop"/>, nor behind the first
/// <see cref="NoteBroken"/>.</para>
/// <para>Errors. Returned, not thrown: a call that could not note returns why, and the change is not made.
/// <see cref="BlockErrors.NoSpace"/> where the log can't grow.</para>
/// </remarks>
internal interface ISessionJournal
{
    /// <summary>The run is copied: what the guest overwrites from now on is in temp.</summary>
    /// <param name="run">At least one granule.</param>
    /// <param name="hasData">False when all of it is zeros and temp got none of it.</param>
    /// <returns>Null, or why it could not be noted; the copy has failed then.</returns>
    BlockException? NoteDone(GranuleRun run, bool hasData);

    /// <summary>The run is refused to everybody from now on, and counts as confirmed by every consumer.</summary>
    /// <returns>Null, or why it could not be noted; the discard fails then and has changed nothing.</returns>
    BlockException? NoteConsumed(GranuleRun run);

    /// <summary>A consumer has confirmed the run. A granule that all of them have confirmed is consumed, without another note.</summary>
    /// <param name="consumer">Its index in <see cref="PointInTime.Consumers"/>.</param>
    /// <param name="run">At least one granule.</param>
    /// <returns>Null, or why it could not be noted; the confirmation fails then and has changed nothing.</returns>
    BlockException? NoteConfirmed(int consumer, GranuleRun run);

    /// <summary>The point in time is lost, and guests write without copying as soon as the call returns.</summary>
    /// <remarks>It must not fail: room for it is kept from the beginning. An implementation that can't store it makes certain by other
    /// means that no process goes on with the session, for its bytes would be wrong.</remarks>
    void NoteBroken(BlockException cause);
}
