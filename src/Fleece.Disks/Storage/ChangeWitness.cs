// SPDX-License-Identifier: MIT
using Fleece.Block.DirtyBitmaps;

namespace Fleece.Disks.Storage;

/// <summary>The one witness of a disk: while guests write, it touches the files beside the image that are to be as young as the image,
/// once a second.</summary>
/// <remarks>
/// <para>The time of modification of each of these files says until when this process had the image. An image that was changed after that
/// (<see cref="Block.Files.FileEvidence.IsChangedAfter"/>) was changed by another program.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
/// <param name="touches">Each sets the time of one file, or does nothing where there is none. It does not throw.</param>
internal sealed class ChangeWitness(params Action[] touches) : IChangeWitness
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private long _dueMilliseconds;

    /// <inheritdoc/>
    public void BeforeChange()
    {
        long now = Environment.TickCount64;
        if (now >= Volatile.Read(ref _dueMilliseconds))
        {
            Volatile.Write(ref _dueMilliseconds, now + (long)Interval.TotalMilliseconds);
            TouchAll();
        }
    }

    /// <summary>Touches the files now.</summary>
    public void TouchAll()
    {
        foreach (Action touch in touches)
        {
            touch();
        }
    }
}
