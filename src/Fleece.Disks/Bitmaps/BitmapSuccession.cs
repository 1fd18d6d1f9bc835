// SPDX-License-Identifier: MIT
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks.Storage;

namespace Fleece.Disks.Bitmaps;

/// <summary>Settles the bitmaps that sessions of an earlier process left: of a session that comes back they stay as they are, of one that
/// was being stopped the end is finished, and of any other they are merged.</summary>
/// <remarks>
/// <para>It works on what was read, in memory. The sidecar that the mount puts in place then has all of it in one step, so a process that
/// is killed before finds the old state again, and one that is killed behind finds nothing left to do.</para>
/// <para>Threading. One thread, while the disk is being mounted.</para>
/// </remarks>
/// <param name="disk">The disk.</param>
/// <param name="found">Its bitmaps.</param>
/// <param name="turns">The sessions that come back, or whose end is to be finished.</param>
/// <param name="notes">Sentences for the user.</param>
internal sealed class BitmapSuccession(
    DiskStorage disk, List<Bitmap> found, IReadOnlyList<StoredTurn> turns, List<string> notes)
{
    private const string Gone =
        "Nothing has it any more: the file that kept the disk's bitmaps is gone, or can't be used, and the session that uses it came back.";

    /// <summary>Settles all of them.</summary>
    public void Settle()
    {
        foreach (Bitmap successor in found.FindAll(bitmap => bitmap.IsPending))
        {
            Bitmap? predecessor = FindPinned(successor.Predecessor?.ExactName);
            switch (turns.FirstOrDefault(turn => turn.Succeeds(successor)))
            {
                case { Outcome: TurnOutcome.GoesOn }:
                    break;
                case { Outcome: TurnOutcome.Succeeded } turn:
                    Succeed(predecessor, successor, turn);
                    break;
                default:
                    Merge(predecessor, successor);
                    break;
            }
        }

        foreach (StoredTurn turn in turns.Where(turn => turn.Outcome == TurnOutcome.GoesOn))
        {
            GoOn(turn);
        }
    }

    private Bitmap? FindPinned(string? exactName) =>
        exactName is null ? null : found.Find(bitmap => !bitmap.IsPending && bitmap.ExactName == exactName);

    // As BitmapTurn.End: the bits are the successor's, and count from the instant.
    private void Succeed(Bitmap? predecessor, Bitmap successor, StoredTurn turn)
    {
        if (turn.PinnedName is null)
        {
            successor.IsPending = false;
            successor.BaselineId = successor.Reason is null ? turn.InstantId : null;
            return;
        }

        found.Remove(successor);
        if (predecessor is not null)
        {
            predecessor.Bits = successor.Bits;
            predecessor.Reason ??= successor.Reason;
            predecessor.BaselineId = predecessor.Reason is null ? turn.InstantId : null;
        }
    }

    // The bitmaps get back what the successors recorded, so nothing is lost.
    private void Merge(Bitmap? predecessor, Bitmap successor)
    {
        found.Remove(successor);
        string name = successor.IsHidden ? "its successor" : $"'{successor.Name}'";
        if (predecessor is null)
        {
            notes.Add(
                $"The session that was to make the bitmap '{successor.Name}' did not end, so it is gone. Make a full backup anew.");
            return;
        }

        predecessor.Reason ??= successor.Reason;
        if (predecessor.Reason is null)
        {
            predecessor.Bits.Merge(successor.Bits);
            notes.Add(
                $"The session that had pinned the bitmap '{predecessor.Name}' did not end; what {name} recorded since was merged " +
                "into it, and nothing is lost.");
        }
    }

    // A snapshot needs no bitmap to be read: its ranges are in the session's own maps. What recorded since the instant may be lost all the
    // same, and then neither of the two can be counted from any more.
    private void GoOn(StoredTurn turn)
    {
        if (turn.SuccessorName is null)
        {
            return;
        }

        Bitmap? pinned = turn.PinnedName is { } pinnedName ? FindPinned(pinnedName) ?? Replace(pinnedName) : null;
        Bitmap successor = found.Find(turn.Succeeds) ?? Replace(turn.SuccessorName, pinned, isSuccessor: true);
        successor.Predecessor = pinned;
        if (pinned is not null)
        {
            pinned.Reason ??= successor.Reason;
            successor.Reason ??= pinned.Reason;
            pinned.IsFrozen = true;
        }
    }

    private Bitmap Replace(string exactName, Bitmap? predecessor = null, bool isSuccessor = false)
    {
        Bitmap bitmap = new(disk, exactName, new DirtyBitmap(disk.SizeBytes, DirtyBitmap.DefaultGranularityBytes), reason: Gone)
        {
            IsHidden = isSuccessor && exactName == predecessor?.ExactName,
            IsPending = isSuccessor,
        };
        found.Add(bitmap);
        return bitmap;
    }
}
