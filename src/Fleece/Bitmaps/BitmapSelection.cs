// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>The bitmaps that a user's name means.</summary>
internal static class BitmapSelection
{
    /// <summary>The bitmap of that name, or those that fit a pattern.</summary>
    /// <param name="command">The cmdlet that asks.</param>
    /// <param name="disk">The disk.</param>
    /// <param name="reference">The name. One from another program may look like a pattern, and is still a name.</param>
    /// <param name="onlyOwn">True where a pattern means the disk's own bitmaps alone, because no other can be changed.</param>
    public static IReadOnlyList<BitmapInfo> Find(
        FleeceCommand command, DiskInfo disk, BitmapReference reference, bool onlyOwn = false)
    {
        IBitmapControl bitmaps = command.Owner.Bitmaps;
        bool isPattern = WildcardPattern.ContainsWildcardCharacters(reference.Name);
        if (FleeceCommand.Wait(bitmaps.FindBitmapAsync(
            FleeceCommand.Same(disk), reference, isExact: isPattern, withRanges: false, command.StopToken)) is { } named)
        {
            return [named];
        }

        WildcardPattern pattern = NamePattern.Parse(reference.Name);
        return [.. FleeceCommand.Wait(bitmaps.ListBitmapsAsync(FleeceCommand.Same(disk), command.StopToken))
            .Where(bitmap => pattern.IsMatch(bitmap.Name) && !(onlyOwn && bitmap.IsOfParent))];
    }

    /// <summary>The bitmap that a record is of, so that a later request means no other of its name.</summary>
    public static BitmapReference Same(BitmapInfo bitmap) =>
        new(bitmap.Name, bitmap.MountId) { BitmapId = bitmap.BitmapId, Disk = bitmap.Disk };
}
