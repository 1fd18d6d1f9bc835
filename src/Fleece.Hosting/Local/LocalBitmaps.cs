// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Local;

/// <summary>The bitmaps of the disks of this process.</summary>
internal sealed class LocalBitmaps(MountedDisks mounted) : IBitmapControl
{
    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<BitmapInfo>> ListBitmapsAsync(DiskReference disk, CancellationToken cancellationToken) =>
        new([.. mounted.Find(disk).Bitmaps.All.Select(bitmap => new BitmapInfo(bitmap))]);

    /// <inheritdoc/>
    public ValueTask<BitmapInfo?> FindBitmapAsync(
        DiskReference disk, BitmapReference bitmap, bool isExact, bool withRanges, CancellationToken cancellationToken)
    {
        Disk found = mounted.Find(disk);
        string name = bitmap.NameOn(found);
        Bitmap? named = isExact ? found.Bitmaps.FindExact(name) : found.Bitmaps.Find(name);
        return new ValueTask<BitmapInfo?>(named is null ? null : new BitmapInfo(named, withRanges));
    }

    /// <inheritdoc/>
    public async ValueTask<CreatedBitmap> CreateBitmapAsync(
        DiskReference disk, string name, long granularityBytes, bool isEnabled, CancellationToken cancellationToken)
    {
        DiskBitmaps bitmaps = mounted.Find(disk).Bitmaps;
        Bitmap made = await bitmaps.CreateAsync(name, granularityBytes, isEnabled, cancellationToken).ConfigureAwait(false);
        return new CreatedBitmap(new BitmapInfo(made), bitmaps.JournalFault);
    }

    /// <inheritdoc/>
    public async ValueTask<BitmapInfo> ChangeBitmapAsync(
        DiskReference disk, BitmapReference bitmap, BitmapChange change, CancellationToken cancellationToken)
    {
        Disk found = mounted.Find(disk);
        DiskBitmaps bitmaps = found.Bitmaps;
        Bitmap named = bitmaps.Find(bitmap.NameOn(found));
        Func<string, CancellationToken, ValueTask> apply = change switch
        {
            BitmapChange.Remove => bitmaps.RemoveAsync,
            BitmapChange.Clear => bitmaps.ClearAsync,
            BitmapChange.Enable => bitmaps.EnableAsync,
            _ => bitmaps.DisableAsync,
        };
        await apply(named.Name, cancellationToken).ConfigureAwait(false);
        return new BitmapInfo(named);
    }

    /// <inheritdoc/>
    public async ValueTask<BitmapInfo> MergeBitmapsAsync(
        DiskReference disk, BitmapReference target, IReadOnlyList<BitmapReference> sources, CancellationToken cancellationToken)
    {
        Disk found = mounted.Find(disk);
        string name = target.NameOn(found);
        await found.Bitmaps
            .MergeAsync(name, [.. sources.Select(source => source.NameOn(found))], cancellationToken).ConfigureAwait(false);
        return new BitmapInfo(found.Bitmaps.Find(name));
    }
}
