// SPDX-License-Identifier: MIT
using Fleece.Disks.Records;
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Host;

/// <summary>A client's requests about dirty bitmaps.</summary>
internal sealed class ClientBitmaps(ConnectedClient client, IBitmapControl bitmaps, Leases leases) : IBitmapControl
{
    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<BitmapInfo>> ListBitmapsAsync(DiskReference disk, CancellationToken cancellationToken) =>
        client.AskAsync(token => bitmaps.ListBitmapsAsync(disk, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapInfo?> FindBitmapAsync(
        DiskReference disk, BitmapReference bitmap, bool isExact, bool withRanges, CancellationToken cancellationToken) =>
        client.AskAsync(token => bitmaps.FindBitmapAsync(disk, bitmap, isExact, withRanges, token), cancellationToken);

    /// <inheritdoc/>
    public ValueTask<CreatedBitmap> CreateBitmapAsync(
        DiskReference disk, string name, long granularityBytes, bool isEnabled, CancellationToken cancellationToken) =>
        client.ChangeAsync(
            new AuditedAction("bitmap.make", $"make bitmap {name} of {disk}", $"{disk}/{name}"),
            (_, token) => bitmaps.CreateBitmapAsync(disk, name, granularityBytes, isEnabled, token),
            cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapInfo> ChangeBitmapAsync(
        DiskReference disk, BitmapReference bitmap, BitmapChange change, CancellationToken cancellationToken) => client.ChangeAsync(
            new AuditedAction(
                $"bitmap.{change.ToString().ToLowerInvariant()}", $"{change} bitmap {bitmap} of {disk}", $"{disk}/{bitmap}"),
            (_, token) => leases.ExplainAsync(() => bitmaps.ChangeBitmapAsync(disk, bitmap, change, token), disk.Name, bitmap.Name),
            cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapInfo> MergeBitmapsAsync(
        DiskReference disk, BitmapReference target, IReadOnlyList<BitmapReference> sources, CancellationToken cancellationToken) =>
        client.ChangeAsync(
            new AuditedAction(
                "bitmap.merge", $"merge bitmaps {string.Join(", ", sources)} of {disk} into {target}", $"{disk}/{target}"),
            (_, token) => leases.ExplainAsync(
                () => bitmaps.MergeBitmapsAsync(disk, target, sources, token),
                disk.Name,
                [target.Name, .. sources.Select(source => source.Name)]),
            cancellationToken);
}
