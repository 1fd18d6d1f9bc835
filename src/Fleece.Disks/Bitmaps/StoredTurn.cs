// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Bitmaps;

/// <summary>How the turn of a session that an earlier process began goes on at the mount.</summary>
internal enum TurnOutcome
{
    /// <summary>The session comes back: the pinned bitmap stays frozen, and its successor goes on recording.</summary>
    GoesOn,

    /// <summary>The session was being stopped with success when the process ended.</summary>
    Succeeded,

    /// <summary>It was being stopped without.</summary>
    Failed,
}

/// <summary>The bitmaps of a session that an earlier process began, by their exact names.</summary>
/// <remarks>A successor without a name of its own has that of the pinned bitmap, and is hidden.</remarks>
/// <param name="PinnedName">The bitmap that limits the session; null for none.</param>
/// <param name="SuccessorName">The bitmap that records from the instant on; null for none.</param>
/// <param name="BaselineId">The instant that the pinned bitmap counted from; null for none.</param>
/// <param name="IsLimited">True when the snapshot shows no more than the pinned bitmap's ranges.</param>
/// <param name="Outcome">How it goes on.</param>
/// <param name="InstantId">What the bitmap counts from after a success; null when the snapshot showed less than it takes for that.</param>
internal sealed record StoredTurn(
    string? PinnedName, string? SuccessorName, Guid? BaselineId, bool IsLimited, TurnOutcome Outcome, Guid? InstantId)
{
    /// <summary>True when the bitmap is the session's successor.</summary>
    public bool Succeeds(Bitmap bitmap) =>
        bitmap.IsPending && bitmap.ExactName == SuccessorName && bitmap.Predecessor?.ExactName == PinnedName;
}
