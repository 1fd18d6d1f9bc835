// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Hosting.Control;
using Fleece.Nbd.Tls;

namespace Fleece.Hosting.Client;

/// <summary>A disk of a host as a job fleeces it.</summary>
internal sealed class HostFleeceable(HostClient client, RemoteJobs jobs, DiskReference asked, FleeceableDisk disk) : IFleeceable
{
    /// <summary>The disk as the host is asked for it: as long as it is mounted, or as long as its guest runs.</summary>
    public DiskReference Reference { get; } = asked.QmpSocketPath is null ? new DiskReference(disk.Name, disk.MountId) : asked;

    /// <inheritdoc/>
    public string Name => disk.Name;

    /// <inheritdoc/>
    public bool IsShared => disk.IsShared;

    /// <inheritdoc/>
    public bool IsReadOnly => disk.IsReadOnly;

    /// <inheritdoc/>
    public BitmapLifetime BitmapsLast => disk.BitmapsLast;

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<BitmapDescription>> ListBitmapsAsync(CancellationToken cancellationToken) =>
        jobs.ListJobBitmapsAsync(Reference, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> CreateBitmapAsync(string name, CancellationToken cancellationToken) =>
        jobs.CreateJobBitmapAsync(Reference, name, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> RestartBitmapAsync(string exactName, CancellationToken cancellationToken) =>
        jobs.RestartJobBitmapAsync(Reference, exactName, cancellationToken);

    /// <inheritdoc/>
    public async ValueTask RemoveBitmapAsync(string exactName, CancellationToken cancellationToken) =>
        _ = await jobs.RemoveJobBitmapAsync(Reference, exactName, cancellationToken).ConfigureAwait(false);

    /// <inheritdoc/>
    public async ValueTask<IFleeceSession> BeginSessionAsync(SessionOptions options, CancellationToken cancellationToken) =>
        (await new HostFleeceables(client, jobs, [this]).BeginSessionsAsync([options], cancellationToken).ConfigureAwait(false))[0];

    /// <inheritdoc/>
    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        try
        {
            await jobs.FlushDiskAsync(Reference, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException e) when (HostChannel.IsUnreachable(e))
        {
            throw HostChannel.Lost(Name, client.SocketPath, e);
        }
        catch (BlockException e) when (HostChannel.IsGone(e))
        {
            throw new BlockException(
                BlockErrors.Closed, $"The disk '{Name}' was dismounted, or its host ended, while this process used it.", Name, cause: e);
        }
    }

    /// <summary>The request for a session of the disk.</summary>
    /// <exception cref="BlockException">InvalidArgument: a certificate that came from no file.</exception>
    public SessionRequest RequestOf(SessionOptions options) => new()
    {
        Disks = [Reference],
        Name = options.Name,
        Ranges = options.Ranges,
        Bitmap = options.Bitmap is { } bitmap ? new BitmapReference(bitmap) : null,
        NextBitmap = options.NextBitmap,
        Consumers = options.Consumers,
        TempPath = options.TempPath,
        Tls = TlsOf(options.Tls),
        GranuleSizeBytes = options.GranuleSizeBytes,
        OnCopyError = options.OnCopyError,
        CopyTimeout = options.Limits.Timeout,
        TempLimitBytes = options.Limits.TempBytes,
        TempWarningPercent = options.Limits.TempWarningPercent,
        MaxGuestDelay = options.Limits.MaxGuestDelay,
        Quiesce = options.Quiesce,
        NbdServerUri = options.NbdServerUri?.ToString(),
    };

    private static TlsFiles? TlsOf(TlsClientOptions? tls)
    {
        TlsFiles? files = tls is null ? null : CertificateFiles.Describe(tls.Certificate, tls.Authorities);
        CertificatePaths.Check(files);
        return files;
    }
}
