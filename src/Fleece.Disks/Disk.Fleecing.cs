// SPDX-License-Identifier: MIT
using Fleece.Disks.Bitmaps;

namespace Fleece.Disks;

/// <content>The disk as one that can be fleeced.</content>
internal sealed partial class Disk : IFleeceable
{
    bool IFleeceable.HasPersistentBitmaps => Bitmaps.IsPersistent;

    ValueTask<IReadOnlyList<BitmapDescription>> IFleeceable.ListBitmapsAsync(CancellationToken cancellationToken) =>
        new([.. Bitmaps.All.Select(bitmap => bitmap.Describe())]);

    async ValueTask<BitmapDescription> IFleeceable.CreateBitmapAsync(string name, CancellationToken cancellationToken) =>
        (await Bitmaps.CreateAsync(name, cancellationToken: cancellationToken).ConfigureAwait(false)).Describe();

    async ValueTask<BitmapDescription> IFleeceable.RestartBitmapAsync(string exactName, CancellationToken cancellationToken)
    {
        await Bitmaps.ClearAsync(exactName, cancellationToken).ConfigureAwait(false);
        Bitmap bitmap = Bitmaps.Find(exactName);
        if (!bitmap.IsEnabled)
        {
            await Bitmaps.EnableAsync(exactName, cancellationToken).ConfigureAwait(false);
        }

        return bitmap.Describe();
    }

    async ValueTask<IFleeceSession> IFleeceable.BeginSessionAsync(SessionOptions options, CancellationToken cancellationToken) =>
        (await Session.StartAsync([this], options, cancellationToken).ConfigureAwait(false))[0];

    ValueTask IFleeceable.FlushAsync(CancellationToken cancellationToken) => Device.FlushAsync(cancellationToken);
}
