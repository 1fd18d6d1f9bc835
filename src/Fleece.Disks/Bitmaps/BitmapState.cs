// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Bitmaps;

/// <summary>What a bitmap does now.</summary>
public enum BitmapState
{
    /// <summary>It records every change.</summary>
    Recording,

    /// <summary>It keeps what it has and records nothing.</summary>
    Disabled,

    /// <summary>A session has pinned it: it keeps what it had at the session's instant, and a successor records.</summary>
    Frozen,

    /// <summary>A record of a parent image, <see cref="Bitmap.ImagePath"/>: it says what changed there before the child was made over it,
    /// and nothing of what changed since.</summary>
    OfParent,

    /// <summary>It may have missed changes, so it is refused until it is cleared; <see cref="Bitmap.Reason"/> says why.</summary>
    Untrusted,
}
