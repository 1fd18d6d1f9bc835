// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;

namespace Fleece.Hosting.Client;

/// <summary>A session of a host's disk that a job of this process has begun and ends.</summary>
/// <remarks>Ownership. It owns the snapshot's connections, and its hold on the lease.</remarks>
internal sealed class HostSession(
    RemoteJobs jobs, DiskReference disk, SessionReference session, string? bitmap, HostSnapshot snapshot, IDisposable hold)
    : IFleeceSession, IAtRiskSource
{
    private readonly Lock _lock = new();
    private Task<bool>? _ending;

    /// <inheritdoc/>
    public string Id => snapshot.Id;

    /// <inheritdoc/>
    public string Address => snapshot.Address;

    /// <inheritdoc/>
    public string? Consumer => snapshot.Consumer;

    /// <inheritdoc/>
    public long SizeBytes => snapshot.SizeBytes;

    /// <inheritdoc/>
    public DateTimeOffset? Instant => snapshot.Instant;

    /// <inheritdoc/>
    public SnapshotIdentity? Identity => snapshot.Identity;

    /// <inheritdoc/>
    public int GranuleSizeBytes => snapshot.GranuleSizeBytes;

    /// <inheritdoc/>
    public int ReadsAtOnce => snapshot.ReadsAtOnce;

    /// <inheritdoc/>
    public BlockDevice Snapshot => snapshot.Snapshot;

    /// <inheritdoc/>
    public string? TakeWarning() => snapshot.TakeWarning();

    /// <inheritdoc/>
    public ValueTask<BlockRange> FindReadableAsync(long offsetBytes, long endBytes, CancellationToken cancellationToken) =>
        snapshot.FindReadableAsync(offsetBytes, endBytes, cancellationToken);

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<long>> FindAtRiskAsync(CancellationToken cancellationToken) =>
        snapshot.FindAtRiskAsync(cancellationToken);

    /// <inheritdoc/>
    public ValueTask<bool> EndAsync(bool isSuccess)
    {
        lock (_lock)
        {
            return new ValueTask<bool>(_ending ??= EndOnceAsync(isSuccess));
        }
    }

    private async Task<bool> EndOnceAsync(bool isSuccess)
    {
        try
        {
            return await TryEndAsync(isSuccess).ConfigureAwait(false);
        }
        catch (BlockException e) when (HostChannel.IsUnreachable(e))
        {
            return bitmap is null; // The session ends without success with the host, or with the lease.
        }
        finally
        {
            await snapshot.DisposeAsync().ConfigureAwait(false);
            hold.Dispose();
        }
    }

    // A call that was interrupted may have been done. A session that is gone has left its trace in the bitmap.
    private async ValueTask<bool> TryEndAsync(bool isSuccess)
    {
        try
        {
            try
            {
                return await jobs.EndJobSessionAsync(session, isSuccess, CancellationToken.None).ConfigureAwait(false);
            }
            catch (BlockException e) when (e.Kind == HostErrors.CallInterrupted)
            {
                return await jobs.EndJobSessionAsync(session, isSuccess, CancellationToken.None).ConfigureAwait(false);
            }
        }
        catch (BlockException e) when (HostChannel.IsGone(e))
        {
            return bitmap is null || (isSuccess && await CountsAsync().ConfigureAwait(false));
        }
    }

    private async ValueTask<bool> CountsAsync()
    {
        try
        {
            IReadOnlyList<BitmapDescription> all = await jobs.ListJobBitmapsAsync(disk, CancellationToken.None).ConfigureAwait(false);
            return all.Any(other => other.ExactName == bitmap && other.BaselineId == session.InstantId);
        }
        catch (BlockException e) when (HostChannel.IsGone(e))
        {
            return false; // The disk was dismounted, or the host has mounted it anew.
        }
    }
}
