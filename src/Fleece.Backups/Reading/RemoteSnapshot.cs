// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Storage;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Backups.Reading;

/// <summary>A snapshot that an NBD server exports, Fleece's or another's.</summary>
/// <remarks>
/// A server that has the context <c>fleece:access</c> tells what can't be read, and it is left out; of another server's
/// export everything is read. A server of Fleece tells the disk and the instant too, so that a backup of it is the same as one that is
/// made in the server's process. Ownership. It owns its connections.
/// </remarks>
internal sealed class RemoteSnapshot : ISnapshotSource, IAsyncDisposable
{
    // Those of a disk of 64 TiB whose every other 4 MiB has changed; they take 128 MiB.
    private const int MaximumRanges = 8 * 1024 * 1024;

    private readonly NbdNode _node;
    private readonly ExportIdentity? _told;
    private string? _untoldWarning;

    private RemoteSnapshot(NbdNode node, ExportIdentity? told, IReadOnlyList<BlockRange>? ranges)
    {
        _node = node;
        _told = told;
        Snapshot = new BlockDevice(DiskSectors.Over(node), Id);
        Identity = told is null or { DiskName: null, IsTorn: false } ? null : Identify(Id, told, ranges);
        _untoldWarning = told is { IsTorn: true } ? DescribeTorn(Id, told)
            : told is null && !node.HasAccessContext
                ? $"The server of '{Id}' can't tell whether the export stands still. Let no client write to it while it is read, or what " +
                  "is read may show several moments."
            : null;
    }

    /// <inheritdoc/>
    public string Id => _node.Uri.ToString();

    /// <summary>True when it may live on where this machine goes down: it is not behind a socket of this one.</summary>
    public bool OutlivesSystem => !_node.Uri.IsUnix;

    /// <inheritdoc/>
    /// <remarks>The disk's export: each session has an export of its own, and all show one disk.</remarks>
    public string Address => _told?.DiskUri(_node.Uri).ToString() ?? Id;

    /// <inheritdoc/>
    public string? Consumer => _told?.Consumer;

    /// <inheritdoc/>
    public long SizeBytes => Snapshot.Geometry.LengthBytes;

    /// <inheritdoc/>
    public DateTimeOffset? Instant => _told is { IsSnapshot: true } ? _told.Instant : null;

    /// <inheritdoc/>
    /// <remarks>A live disk has no instant of its own; it gets a new identity with each connection.</remarks>
    public SnapshotIdentity? Identity { get; }

    /// <inheritdoc/>
    public int GranuleSizeBytes => WholeClusterDiscard.ClusterSizeBytes;

    /// <inheritdoc/>
    /// <remarks>Enough to fill a network's round trip.</remarks>
    public int ReadsAtOnce => 8;

    /// <inheritdoc/>
    public BlockDevice Snapshot { get; }

    /// <summary>Connects to an export.</summary>
    /// <exception cref="BlockException">As <see cref="NbdNode.ConnectAsync"/>, and <see cref="NbdErrors.ProtocolViolated"/> for an
    /// identity that can't be one; when it is to be consumed, <see cref="BlockErrors.ReadOnly"/> where the server does not let, and
    /// <see cref="BlockErrors.InvalidArgument"/> for what does not say that it is a snapshot: discarding from a live disk erases it.
    /// </exception>
    public static async ValueTask<RemoteSnapshot> ConnectAsync(
        NbdUri uri, NbdNodeOptions options, bool mustConsume, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        (NbdNode node, ExportIdentity? told) = await StorageAddress
            .ConnectAsync(uri, options with { IsReadOnly = !mustConsume }, cancellationToken).ConfigureAwait(false);
        try
        {
            if (mustConsume)
            {
                CheckCanBeConsumed(uri, node);
            }

            bool isLimited = told is { BaselineId: not null } or { IsLimited: true };
            return new RemoteSnapshot(node, told, isLimited ? await ReadLimitsAsync(node, cancellationToken).ConfigureAwait(false) : null);
        }
        catch
        {
            await node.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc/>
    /// <remarks>Only whether what is read shows one moment; what the session has to tell, the server's side is told.</remarks>
    public string? TakeWarning() => Interlocked.Exchange(ref _untoldWarning, null);

    /// <inheritdoc/>
    public async ValueTask<BlockRange> FindReadableAsync(
        long offsetBytes, long endBytes, CancellationToken cancellationToken)
    {
        long storedBytes = _node.Geometry.LengthBytes;
        for (long atBytes = offsetBytes; atBytes < endBytes;)
        {
            // The rest of the last sector is readable where the byte before it is.
            long askedBytes = Math.Min(atBytes, storedBytes - _node.Geometry.RequestAlignmentBytes);
            (AccessFlags refusal, long lengthBytes) = await _node
                .GetAccessAsync(askedBytes, Math.Min(endBytes, storedBytes) - askedBytes, cancellationToken).ConfigureAwait(false);
            long runEndBytes = askedBytes + lengthBytes == storedBytes ? endBytes : askedBytes + lengthBytes;
            if (refusal == AccessFlags.None)
            {
                return BlockRange.FromEnds(atBytes, runEndBytes);
            }

            atBytes = runEndBytes;
        }

        return BlockRange.FromEnds(endBytes, endBytes);
    }

    /// <summary>Closes the connections. Idempotent.</summary>
    public ValueTask DisposeAsync() => Snapshot.DisposeAsync();

    /// <summary>What to tell of a live disk, or of the snapshot of a shared one, that is read; whole sentences.</summary>
    internal static string DescribeTorn(string id, ExportIdentity told) => told.IsSnapshot
        ? $"'{id}' is a snapshot of the disk '{told.DiskName}', to which others write as well, so it may show several moments."
        : $"'{id}' is a live disk, so what is read may show several moments. Start a session there, and name DISK/SESSION.";

    private static SnapshotIdentity Identify(string id, ExportIdentity told, IReadOnlyList<BlockRange>? ranges) => told.IsSnapshot
        ? new SnapshotIdentity(
            told.InstantId, told.DiskName!, $"{told.DiskName}/{told.SessionName}", told.BitmapName, told.BaselineId, ranges)
        {
            IsShared = told.IsShared,
        }
        : new SnapshotIdentity(
            Guid.NewGuid(), told.DiskName ?? StorageAddress.NameOf(id), id, BitmapName: null, BaselineId: null, Ranges: null)
        {
            IsShared = told.IsTorn,
            IsLive = told.IsTorn,
        };

    private static void CheckCanBeConsumed(NbdUri uri, NbdNode node)
    {
        if (!node.HasAccessContext)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{uri}' does not say that it is a snapshot of Fleece, and on a disk discarding would erase what was read. Name the " +
                "snapshot, DISK/SESSION, or leave -DiscardConsumed out.");
        }

        if (node.Geometry.IsReadOnly)
        {
            throw new BlockException(
                BlockErrors.ReadOnly,
                $"'{uri}' is exported read-only, so what was read can't be discarded there. Leave -DiscardConsumed out, or have it " +
                "published without -ReadOnly; of a session that counts consumers name one, DISK/SESSION/CONSUMER.");
        }
    }

    // The session was limited at its start to all that is not denied, whether it was consumed since or not.
    private static async ValueTask<IReadOnlyList<BlockRange>> ReadLimitsAsync(NbdNode node, CancellationToken cancellationToken)
    {
        List<BlockRange> ranges = [];
        long endBytes = node.Geometry.LengthBytes;
        for (long atBytes = 0; atBytes < endBytes;)
        {
            (AccessFlags refusal, long lengthBytes) = await node.GetAccessAsync(atBytes, endBytes - atBytes, cancellationToken)
                .ConfigureAwait(false);
            if ((refusal & AccessFlags.Denied) == 0)
            {
                if (ranges is [.., var last] && last.EndBytes == atBytes)
                {
                    ranges[^1] = BlockRange.FromEnds(last.OffsetBytes, atBytes + lengthBytes);
                }
                else if (ranges.Count < MaximumRanges)
                {
                    ranges.Add(new BlockRange(atBytes, lengthBytes));
                }
                else
                {
                    throw new BlockException(
                        BlockErrors.Unsupported,
                        $"The snapshot at '{node.Uri}' is limited to more than {MaximumRanges} ranges, which is the limit. Start its " +
                        "session without a bitmap or ranges.",
                        node.Uri.ToString(),
                        atBytes,
                        "query");
                }
            }

            atBytes += lengthBytes;
        }

        return ranges;
    }
}
