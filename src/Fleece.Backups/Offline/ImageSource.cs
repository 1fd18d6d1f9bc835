// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Storage;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Tls;

namespace Fleece.Backups.Offline;

/// <summary>An image, or an export, that is to stand still: it is its own snapshot and is read like one, at any byte.</summary>
/// <remarks>Threading. All members are safe from any thread. Ownership. It owns the image.</remarks>
internal sealed class ImageSource : ISnapshotSource, IAsyncDisposable
{
    private string? _untoldWarning;

    private ImageSource(string id, OpenedStorage opened, IBlockNode image, string? outsideNote)
    {
        Id = id;
        Format = opened.Format;
        Snapshot = new BlockDevice(ByteGranularNode.Over(image), id);
        _untoldWarning = outsideNote is not null ? $"{id}: {outsideNote}"
            : opened.Identity is { IsTorn: true } told ? RemoteSnapshot.DescribeTorn(id, told)
            : opened.Note;
    }

    /// <inheritdoc/>
    public string Id { get; }

    /// <inheritdoc/>
    public string Address => Id;

    /// <inheritdoc/>
    public string? Consumer => null;

    /// <summary>The image's format; null for an export whose bytes are the disk's own.</summary>
    public ImageFormat? Format { get; }

    /// <inheritdoc/>
    public long SizeBytes => Snapshot.Geometry.LengthBytes;

    /// <inheritdoc/>
    public DateTimeOffset? Instant => null;

    /// <inheritdoc/>
    public SnapshotIdentity? Identity => null;

    /// <inheritdoc/>
    public int GranuleSizeBytes => SnapshotReadOptions.MinimumChunkSizeBytes;

    /// <inheritdoc/>
    /// <remarks>One reads while the other's system call waits.</remarks>
    public int ReadsAtOnce => 2;

    /// <inheritdoc/>
    public BlockDevice Snapshot { get; }

    /// <summary>Opens an image file, with its parents, or an export, read-only.</summary>
    public static async ValueTask<ImageSource> OpenAsync(
        string address, ImageOpenOptions options, TlsClientOptions? tls, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        string fullAddress = StorageAddress.FullAddress(address);
        ImageFiles files = new();
        OpenedStorage opened = await StorageAddress
            .OpenAsync(fullAddress, options with { IsReadOnly = true, Files = files }, tls, "a read of the image", cancellationToken)
            .ConfigureAwait(false);
        IBlockNode bounded = options.Untrusted is { } limits
            ? Bound(opened.Node, fullAddress, limits, files.StoredBytes)
            : opened.Node;
        return new ImageSource(fullAddress, opened, bounded, files.OutsideNote);
    }

    /// <inheritdoc/>
    /// <remarks>That an image names files outside its folder, or that an export is a live disk, where its server tells that, or begins like
    /// an image.</remarks>
    public string? TakeWarning() => Interlocked.Exchange(ref _untoldWarning, null);

    /// <inheritdoc/>
    public ValueTask<BlockRange> FindReadableAsync(long offsetBytes, long endBytes, CancellationToken cancellationToken) =>
        new(BlockRange.FromEnds(offsetBytes, endBytes));

    /// <summary>Closes the image. Idempotent.</summary>
    public ValueTask DisposeAsync() => Snapshot.DisposeAsync();

    // The files behind an export are not known.
    private static ReadBudget Bound(IBlockNode image, string address, UntrustedLimits limits, long storedBytes)
    {
        long byStorage = NbdUri.IsUri(address)
            ? long.MaxValue
            : (long)Int128.Min(limits.FreeReadBytes + ((Int128)storedBytes * limits.ReadBytesPerStoredByte), long.MaxValue);
        return limits.MaximumReadBytes < byStorage
            ? new ReadBudget(image, address, limits.MaximumReadBytes, "the part of the free space at the destination that it may take")
            : new ReadBudget(image, address, byStorage, $"the most for files that store {storedBytes} bytes");
    }
}
