// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Backups.Writing;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Images;
using Fleece.Nbd.Tls;

namespace Fleece.Backups.Offline;

/// <summary>Copies the content of an image, parents included, into a new image.</summary>
/// <remarks>
/// <para>A conversion is a backup of something that stands still, so it is made of the same parts: a copy, and a file that gets its name
/// when it is complete.</para>
/// <para>Threading. One caller at a time: <see cref="StepAsync"/> until it says false, then <see cref="CompleteAsync"/>.</para>
/// </remarks>
internal sealed class ImageConversion : IAsyncDisposable
{
    private readonly ImageSource _source;
    private readonly SnapshotCopy _copy;

    private ImageConversion(ImageSource source, SnapshotCopy copy, string? note)
    {
        _source = source;
        _copy = copy;
        Note = note;
    }

    /// <inheritdoc cref="FileTarget.Note"/>
    public string? Note { get; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes => _source.SizeBytes;

    /// <inheritdoc cref="ImageSource.Format"/>
    public ImageFormat? SourceFormat => _source.Format;

    /// <summary>Bytes that have been read so far, zeros included.</summary>
    public long ArrivedBytes => _copy.ArrivedBytes;

    /// <inheritdoc cref="ISnapshotSource.TakeWarning"/>
    public string? TakeWarning() => _source.TakeWarning();

    /// <summary>Opens both sides.</summary>
    /// <param name="address">The image, or the NBD URI, to copy.</param>
    /// <param name="source">How it is opened.</param>
    /// <param name="destination">What it becomes.</param>
    /// <param name="tls">Certificates for an nbds URI.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public static async ValueTask<ImageConversion> OpenAsync(
        string address,
        ImageOpenOptions source,
        FileTargetOptions destination,
        TlsClientOptions? tls,
        CancellationToken cancellationToken = default)
    {
        destination = destination with { HasManifest = false };
        FileTarget.CheckDestination(destination);
        source = source with { Untrusted = BoundByDestination(source.Untrusted, destination.Path) };
        ImageSource image = await ImageSource.OpenAsync(address, source, tls, cancellationToken).ConfigureAwait(false);
        try
        {
            CheckFixed(image, source.Untrusted, destination);
            FileTarget target = await FileTarget.CreateAsync(destination, image, cancellationToken).ConfigureAwait(false);
            return new ImageConversion(
                image, await SnapshotCopy.StartAsync(image, target, new SnapshotReadOptions()).ConfigureAwait(false), target.Note);
        }
        catch
        {
            await image.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc cref="SnapshotCopy.StepAsync"/>
    public ValueTask<bool> StepAsync(CancellationToken cancellationToken = default) => _copy.StepAsync(cancellationToken);

    /// <summary>Makes the new image durable and gives it its name.</summary>
    public async ValueTask CompleteAsync(CancellationToken cancellationToken = default) =>
        _ = await _copy.CompleteAsync(cancellationToken).ConfigureAwait(false);

    /// <summary>Closes both sides; what was not completed is deleted. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        await _copy.DisposeAsync().ConfigureAwait(false);
        await _source.DisposeAsync().ConfigureAwait(false);
    }

    // A stranger's image must not fill a volume that others use.
    private static UntrustedLimits? BoundByDestination(UntrustedLimits? limits, string path) =>
        limits is not null && FileSystemSpace.TryGetFreeBytes(path, out long freeBytes)
            ? limits with { MaximumReadBytes = Math.Min(limits.MaximumReadBytes, freeBytes / limits.FreeSpaceDivisor) }
            : limits;

    // A fixed image takes its whole size, zeros included.
    private static void CheckFixed(ImageSource image, UntrustedLimits? limits, FileTargetOptions destination)
    {
        if (limits is not null && destination.Image is { IsFixed: true } && image.SizeBytes > limits.MaximumReadBytes)
        {
            throw UntrustedLimits.Exceeded(
                image.Id,
                $"a fixed image of its {image.SizeBytes} bytes takes more than {limits.MaximumReadBytes}, the part of the free space at " +
                "the destination that it may take");
        }
    }
}
