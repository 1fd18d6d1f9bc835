// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks.Storage;

namespace Fleece.Disks.Bitmaps;

/// <summary>What a session does with its disk's bitmaps: it pins one, and lets another record from its instant on.</summary>
/// <remarks>
/// <para>The steps, and what a killed process leaves behind at each:</para>
/// <code>
/// prepared   the successor is in the directory, empty and pending        merging it changes nothing
/// begun      the pinned one keeps still, the successor records           merged: as if no session had been
/// succeeded  the directory names the successor's bits as the pinned one's, in one write
/// failed     both record, the successor is merged, then forgotten        merged again, which adds nothing
/// </code>
/// <para>Threading. Every member under the disk's chain lock; <see cref="Begin"/> and <see cref="End"/> with the disk
/// quiesced.</para>
/// </remarks>
internal sealed class BitmapTurn
{
    private readonly DiskBitmaps _bitmaps;
    private readonly Bitmap? _successor;
    private bool _mustMerge;

    private BitmapTurn(DiskBitmaps bitmaps, Bitmap? pinned, Bitmap? successor)
    {
        _bitmaps = bitmaps;
        Pinned = pinned;
        _successor = successor;
    }

    /// <summary>The bitmap whose ranges the snapshot is limited to; null for none.</summary>
    public Bitmap? Pinned { get; }

    /// <summary>The bitmap that records from the instant on; null for none, and for one that the user did not name.</summary>
    public Bitmap? Next => _successor is { IsHidden: false } ? _successor : null;

    /// <summary>What the pinned bitmap had at the instant. It stays the same after the session, whatever becomes of the name.</summary>
    public DirtyBitmap? PinnedBits { get; private set; }

    /// <summary>The instant that <see cref="PinnedBits"/> count from; null for none.</summary>
    public Guid? BaselineId { get; private set; }

    /// <summary>
    /// True when the snapshot shows no more than the pinned bitmap's ranges: it counts from a backup, or it records nothing and is only
    /// looked at.
    /// </summary>
    public bool IsLimited { get; private set; }

    /// <summary>Checks the names and makes the successor; nothing records yet. Null when the session has no bitmap.</summary>
    public static BitmapTurn? Prepare(DiskBitmaps bitmaps, string sessionId, string? pinnedName, string? nextName)
    {
        if (pinnedName is null && nextName is null)
        {
            return null;
        }

        DiskStorage disk = bitmaps.Storage;
        Bitmap? pinned = pinnedName is null ? null : bitmaps.Find(pinnedName);
        pinned?.CheckPinnable();
        pinned?.CheckFree();
        pinned?.CheckTrusted();
        if (nextName is not null)
        {
            bitmaps.CheckMayChange();
            if (pinned is { IsEnabled: false })
            {
                throw new BlockException(
                    BlockErrors.InvalidArgument,
                    $"The bitmap '{pinned.Name}' is disabled, so it has missed changes already and '{nextName}' can't succeed it. Enable " +
                    "it, or leave -NextBitmap out.",
                    disk.Path);
            }
        }

        // A bitmap that records nothing is only looked at, and so is one of a disk that does not change.
        bool isOnlyLookedAt = nextName is null && pinned is null or { IsEnabled: false } || disk.IsReadOnly;
        if (!isOnlyLookedAt)
        {
            pinned?.CheckNotOfGuest();
        }

        Bitmap? successor = isOnlyLookedAt
            ? null
            : bitmaps.Add(
                nextName ?? pinned!.ExactName,
                pinned?.GranularityBytes ?? DirtyBitmap.DefaultGranularityBytes,
                isEnabled: true,
                isHidden: nextName is null,
                pinned,
                isPending: true);
        pinned?.HoldFor(sessionId);
        successor?.HoldFor(sessionId);

        // No bitmap has the writes of others since the baseline.
        Guid? baselineId = disk.IsShared ? null : pinned?.BaselineId;
        return new BitmapTurn(bitmaps, pinned, successor)
        {
            BaselineId = baselineId,
            IsLimited = pinned is { IsEnabled: false } || baselineId is not null,
        };
    }

    /// <summary>The turn of a session that an earlier process began and that comes back. Its bitmaps are as the instant left them: the
    /// pinned one frozen, its successor recording.</summary>
    public static BitmapTurn? Resume(DiskBitmaps bitmaps, string sessionId, StoredTurn turn)
    {
        if (turn is { PinnedName: null, SuccessorName: null })
        {
            return null;
        }

        Bitmap[] all = bitmaps.Store.Bitmaps;
        Bitmap? successor = Array.Find(all, turn.Succeeds);
        Bitmap? pinned = Array.Find(all, bitmap => !bitmap.IsPending && bitmap.ExactName == turn.PinnedName);
        pinned?.HoldFor(sessionId);
        successor?.HoldFor(sessionId);
        return new BitmapTurn(bitmaps, pinned, successor)
        {
            PinnedBits = pinned?.Reason is null ? pinned?.Bits : null,
            BaselineId = turn.BaselineId,
            IsLimited = turn.IsLimited,
        };
    }

    /// <summary>The turn as the log of a session keeps it.</summary>
    public StoredTurn Store(TurnOutcome outcome, Guid? instantId) =>
        new(Pinned?.ExactName, _successor?.ExactName, BaselineId, IsLimited, outcome, instantId);

    /// <summary>Takes back what <see cref="Prepare"/> did.</summary>
    public void Undo()
    {
        Pinned?.HoldFor(null);
        Forget();
    }

    /// <summary>The instant: the pinned bitmap keeps still, and its successor records.</summary>
    public void Begin()
    {
        PinnedBits = Pinned?.Bits;
        Turn(isBegun: true);
    }

    /// <summary>Takes back what <see cref="Begin"/> did, at the same instant.</summary>
    public void TakeBack() => Turn(isBegun: false);

    /// <summary>Ends the session's hold. On success the pinned bitmap takes what its successor recorded; else both record, until
    /// <see cref="MergeSuccessor"/> has brought them together.</summary>
    /// <param name="isSuccess">True when what was to be read has been read.</param>
    /// <param name="instantId">The session's instant, which the bitmap counts from after a success; null when the snapshot showed less
    /// than it takes for that.</param>
    public void End(bool isSuccess, Guid? instantId)
    {
        _successor?.HoldFor(null);
        Pinned?.HoldFor(null);
        if (_successor is null)
        {
            return;
        }

        if (Pinned is null)
        {
            EndFirst(isSuccess, instantId);
            return;
        }

        Pinned.IsFrozen = false;
        _mustMerge = !isSuccess;
        if (isSuccess)
        {
            _bitmaps.Replace(Pinned, _successor, Pinned.Reason is null ? instantId : null);
        }

        _bitmaps.UpdateRecording();
    }

    /// <summary>Merges the successor of a session that failed into its bitmap. Guests go on meanwhile.</summary>
    /// <returns>True when there is something to forget, which takes a quiesced disk.</returns>
    public bool MergeSuccessor()
    {
        if (_mustMerge)
        {
            Pinned!.Bits.Merge(_successor!.Bits);
        }

        return _mustMerge;
    }

    /// <summary>Removes the successor. The disk is quiesced, or the successor never recorded.</summary>
    public void Forget()
    {
        if (_successor is not null)
        {
            _bitmaps.DropOrGiveUp(_successor);
        }
    }

    private void Turn(bool isBegun)
    {
        if (_successor is not null)
        {
            _successor.IsWaiting = !isBegun;
            if (Pinned is not null)
            {
                Pinned.IsFrozen = isBegun;
            }
        }

        _bitmaps.UpdateRecording();
    }

    // Without a bitmap to fall back on, a session that failed has made nothing that a later one could build on.
    private void EndFirst(bool isSuccess, Guid? instantId)
    {
        if (!isSuccess)
        {
            Forget();
            return;
        }

        _successor!.IsPending = false;
        _successor.BaselineId = _successor.Reason is null ? instantId : null;
        _bitmaps.Store.KeepOrGiveUp(_bitmaps.Store.Bitmaps);
    }
}
