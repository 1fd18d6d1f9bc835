// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Client;

/// <summary>The dirty bitmaps of a host's disks.</summary>
internal sealed class RemoteBitmaps(HostClient client) : IBitmapControl
{
    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<BitmapInfo>> ListBitmapsAsync(DiskReference disk, CancellationToken cancellationToken) =>
        client.AskAsync<IReadOnlyList<BitmapInfo>>(nameof(ListBitmapsAsync), new { disk }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapInfo?> FindBitmapAsync(
        DiskReference disk, BitmapReference bitmap, bool isExact, bool withRanges, CancellationToken cancellationToken) =>
        client.AskAsync<BitmapInfo?>(nameof(FindBitmapAsync), new { disk, bitmap, isExact, withRanges }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<CreatedBitmap> CreateBitmapAsync(
        DiskReference disk, string name, long granularityBytes, bool isEnabled, CancellationToken cancellationToken) =>
        client.ChangeAsync<CreatedBitmap>(
            nameof(CreateBitmapAsync), new { disk, name, granularityBytes, isEnabled }, cancellationToken, async () =>
            {
                BitmapInfo? bitmap = await FindBitmapAsync(
                    disk, new BitmapReference(name), isExact: true, withRanges: false, CancellationToken.None).ConfigureAwait(false);
                return bitmap is null
                    ? $"It was not done: the disk '{disk}' has no bitmap '{name}'."
                    : $"It was done: the disk '{disk}' has the bitmap '{name}'.";
            });

    /// <inheritdoc/>
    public ValueTask<BitmapInfo> ChangeBitmapAsync(
        DiskReference disk, BitmapReference bitmap, BitmapChange change, CancellationToken cancellationToken) =>
        client.ChangeAsync<BitmapInfo>(nameof(ChangeBitmapAsync), new { disk, bitmap, change }, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapInfo> MergeBitmapsAsync(
        DiskReference disk, BitmapReference target, IReadOnlyList<BitmapReference> sources, CancellationToken cancellationToken) =>
        client.ChangeAsync<BitmapInfo>(
            nameof(MergeBitmapsAsync),
            new { disk, target, sources },
            cancellationToken,
            () => new("It may have been done or not. Merging again is no harm: a bitmap holds a mark once."));
}
