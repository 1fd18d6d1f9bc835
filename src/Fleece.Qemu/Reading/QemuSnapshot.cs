// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Contexts;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Qemu.Reading;

/// <summary>The snapshot of a session that a guest's QEMU keeps, over its NBD export.</summary>
/// <remarks>
/// <para>It is the only reader of the export: others would undo what it knows of consumed clusters, and could overlap its requests.</para>
/// <para>A lost connection is never made again. A request that QEMU has not answered may still run there, and sending it twice ends QEMU
/// before 9.1.1. A socket of the same machine is lost only with QEMU or with the export, and the session with them.</para>
/// <para>Threading. All members are safe from any thread. Ownership. The session opens and disposes it.</para>
/// </remarks>
internal sealed class QemuSnapshot : ISnapshotMap, IAsyncDisposable
{
    // One receives while the other one sends; more do not make it faster.
    private const int ConnectionCount = 2;

    // Requests in flight end in this time, or with their connections, when the snapshot is closed.
    private static readonly TimeSpan ClosingPatience = TimeSpan.FromSeconds(2);

    private readonly NbdNode _node;
    private readonly SnapshotMap _map;
    private readonly SnapshotNode _root;
    private volatile bool _isClosed;

    private QemuSnapshot(NbdNode node, SnapshotMap map, QemuSnapshotOptions options)
    {
        _node = node;
        _map = map;
        _root = new SnapshotNode(node, map, options);
        Snapshot = new BlockDevice(_root, options.Id, BlockErrors.Stopped);
        Contexts = [new SnapshotAllocationContext(Snapshot, this), new AccessContext(Snapshot, this)];
    }

    /// <summary>Reads, status and discards.</summary>
    public BlockDevice Snapshot { get; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes => Snapshot.Geometry.LengthBytes;

    /// <summary>The unit of copying: ranges that are cut at its multiples are consumed without a rest.</summary>
    public int GranuleSizeBytes => _map.Clusters.SizeBytes;

    /// <summary>How many reads of a chunk at a time serve it best.</summary>
    public const int ReadsAtOnce = 4;

    /// <summary>What could be read at the instant, in whole clusters; null for the whole disk.</summary>
    public IReadOnlyList<BlockRange>? Limits => _map.Limits;

    /// <summary>Bytes that were consumed.</summary>
    public long ConsumedBytes => _map.ConsumedBytes;

    /// <summary>True when a reader has met the loss of the snapshot or the end of QEMU.</summary>
    public bool HasFailed => _root.FailedBy is not null;

    /// <summary>As <see cref="SnapshotNode.BrokenBy"/>.</summary>
    public BlockException? BrokenBy => _root.BrokenBy;

    /// <inheritdoc/>
    public SessionState State => _isClosed ? SessionState.Stopped : BrokenBy is null ? SessionState.Active : SessionState.Broken;

    /// <summary><c>base:allocation</c> and <c>fleece:access</c>, for an export of the snapshot.</summary>
    public IReadOnlyList<IStatusContext> Contexts { get; }

    /// <summary>Connects to the export and learns what it is limited to.</summary>
    /// <exception cref="BlockException">As <see cref="NbdNode.ConnectAsync"/>; <see cref="Disks.DiskErrors.BitmapUnknown"/>: the export
    /// does not tell of the bitmap; <see cref="BlockErrors.Unsupported"/>: the bitmap has too many ranges.</exception>
    public static async ValueTask<QemuSnapshot> OpenAsync(QemuSnapshotOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        NbdNodeOptions how = new()
        {
            MaximumConnections = ConnectionCount,
            ReconnectTimeout = TimeSpan.Zero,
            InvalidKind = BlockErrors.Broken,
        };
        NbdNode node = await NbdNode.ConnectAsync(options.Uri, how, cancellationToken).ConfigureAwait(false);
        try
        {
            Granules clusters = new(node.Geometry.LengthBytes, options.ClusterSizeBytes);
            IReadOnlyList<BlockRange>? limits = options.Bitmap is null
                ? null
                : await SnapshotLimits.ReadAsync(options, clusters, cancellationToken).ConfigureAwait(false);
            return new QemuSnapshot(node, new SnapshotMap(clusters, options.Id, limits), options);
        }
        catch
        {
            await node.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc/>
    public BlockRange NextReadable(long offsetBytes, long endBytes) => _map.NextReadable(offsetBytes, endBytes);

    /// <inheritdoc/>
    public SnapshotRun GetRun(long offsetBytes) => _map.GetRun(offsetBytes);

    /// <summary>Refuses new requests, gives those in flight two seconds, and closes the connections. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        _isClosed = true;
        Task closing = Snapshot.DisposeAsync().AsTask();
        try
        {
            await closing.WaitAsync(ClosingPatience).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            // QEMU's storage hangs. Closing the connections ends what waits for it.
            await _node.DisposeAsync().ConfigureAwait(false);
            await closing.ConfigureAwait(false);
        }
    }
}
