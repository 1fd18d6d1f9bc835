// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Nbd.Tls;

namespace Fleece.Hosting.Client;

/// <summary>A disk of a host as a job fleeces it.</summary>
internal sealed class HostFleeceable(HostClient client, RemoteJobs jobs, FleeceableDisk disk) : IFleeceable
{
    private readonly DiskReference _reference = new(disk.Name, disk.MountId);

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
        jobs.ListJobBitmapsAsync(_reference, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> CreateBitmapAsync(string name, CancellationToken cancellationToken) =>
        jobs.CreateJobBitmapAsync(_reference, name, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BitmapDescription> RestartBitmapAsync(string exactName, CancellationToken cancellationToken) =>
        jobs.RestartJobBitmapAsync(_reference, exactName, cancellationToken);

    /// <inheritdoc/>
    /// <remarks>The session ends without success when this process dies: it belongs to the lease.</remarks>
    public async ValueTask<IFleeceSession> BeginSessionAsync(SessionOptions options, CancellationToken cancellationToken)
    {
        IDisposable hold = client.Hold();
        try
        {
            SessionInfo info = await jobs.BeginJobSessionAsync(RequestOf(options), cancellationToken).ConfigureAwait(false);
            SessionReference session = new(info.Id, info.InstantId);
            try
            {
                HostSnapshot snapshot = await HostSnapshot
                    .OpenAsync(client, session, discards: true, cancellationToken).ConfigureAwait(false);
                return new HostSession(jobs, _reference, session, options.Bitmap, snapshot, hold);
            }
            catch
            {
                await EndQuietlyAsync(session).ConfigureAwait(false);
                throw;
            }
        }
        catch
        {
            hold.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        try
        {
            await jobs.FlushDiskAsync(_reference, cancellationToken).ConfigureAwait(false);
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

    private async ValueTask EndQuietlyAsync(SessionReference session)
    {
        try
        {
            await jobs.EndJobSessionAsync(session, isSuccess: false, CancellationToken.None).ConfigureAwait(false);
        }
        catch (BlockException)
        {
            // The error that led here says more, and a session that is left ends with the lease.
        }
    }

    private static TlsFiles? TlsOf(TlsClientOptions? tls)
    {
        TlsFiles? files = tls is null ? null : CertificateFiles.Describe(tls.Certificate, tls.Authorities);
        CertificatePaths.Check(files);
        return files;
    }

    private SessionRequest RequestOf(SessionOptions options) => new()
    {
        Disks = [_reference],
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
    };
}
