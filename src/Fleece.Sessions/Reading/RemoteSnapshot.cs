// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Nbd;
using Fleece.Nbd.Client;

namespace Fleece.Sessions.Reading;

/// <summary>A snapshot that an NBD server exports, Fleece's or another's.</summary>
/// <remarks>
/// A server that has the context <c>fleece:access</c> tells what can't be read, and it is left out; of another server's
/// export everything is read. Ownership. It owns its connections.
/// </remarks>
public sealed class RemoteSnapshot : ISnapshotSource, IAsyncDisposable
{
    private readonly NbdNode _node;

    private RemoteSnapshot(NbdNode node)
    {
        _node = node;
        Snapshot = new BlockDevice(DiskSectors.Over(node), Id);
    }

    /// <inheritdoc/>
    public string Id => _node.Uri.ToString();

    /// <inheritdoc/>
    public string Address => Id;

    /// <inheritdoc/>
    /// <remarks>The server's side knows; the export's name has it.</remarks>
    public string? Consumer => null;

    /// <inheritdoc/>
    public long SizeBytes => Snapshot.Geometry.LengthBytes;

    /// <inheritdoc/>
    public DateTimeOffset? Instant => null;

    /// <inheritdoc/>
    public SnapshotIdentity? Identity => null;

    /// <inheritdoc/>
    public int GranuleSizeBytes => WholeClusterDiscard.ClusterSizeBytes;

    /// <inheritdoc/>
    /// <remarks>Enough to fill a network's round trip.</remarks>
    public int ReadsAtOnce => 8;

    /// <inheritdoc/>
    public BlockDevice Snapshot { get; }

    /// <summary>Connects to an export.</summary>
    /// <exception cref="BlockException">As <see cref="NbdNode.ConnectAsync"/>; when it is to be consumed,
    /// <see cref="BlockErrorKind.ReadOnly"/> where the server does not let, and <see cref="BlockErrorKind.InvalidArgument"/> for
    /// what does not say that it is a snapshot: discarding from a live disk erases it.</exception>
    public static async ValueTask<RemoteSnapshot> ConnectAsync(
        NbdUri uri, NbdNodeOptions options, bool mustConsume, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        NbdNode node = await NbdNode.ConnectAsync(uri, options with { IsReadOnly = !mustConsume }, cancellationToken)
            .ConfigureAwait(false);
        if (!mustConsume || (node.HasAccessContext && !node.Geometry.IsReadOnly))
        {
            return new RemoteSnapshot(node);
        }

        await node.DisposeAsync().ConfigureAwait(false);
        throw node.HasAccessContext
            ? new BlockException(
                BlockErrorKind.ReadOnly,
                $"'{uri}' is exported read-only, so what was read can't be discarded there. Leave -DiscardConsumed out, or have it " +
                "published without -ReadOnly; of a session that counts consumers name one, DISK/SESSION/CONSUMER.")
            : new BlockException(
                BlockErrorKind.InvalidArgument,
                $"'{uri}' does not say that it is a snapshot of Fleece, and on a disk discarding would erase what was read. Name the " +
                "snapshot, DISK/SESSION, or leave -DiscardConsumed out.");
    }

    /// <inheritdoc/>
    /// <remarks>None: NBD has no words for it, and the server's side is told.</remarks>
    public string? TakeWarning() => null;

    /// <inheritdoc/>
    public async ValueTask<BlockRange> FindReadableAsync(
        long offsetBytes, long endBytes, CancellationToken cancellationToken)
    {
        long storedBytes = _node.Geometry.LengthBytes;
        for (long atBytes = offsetBytes; atBytes < endBytes;)
        {
            // What fills up the last sector is readable as the byte before it is.
            long askedBytes = Math.Min(atBytes, storedBytes - _node.Geometry.RequestAlignmentBytes);
            (bool isReadable, long lengthBytes) = await _node
                .GetAccessAsync(askedBytes, Math.Min(endBytes, storedBytes) - askedBytes, cancellationToken).ConfigureAwait(false);
            long runEndBytes = askedBytes + lengthBytes == storedBytes ? endBytes : askedBytes + lengthBytes;
            if (isReadable)
            {
                return BlockRange.FromEnds(atBytes, runEndBytes);
            }

            atBytes = runEndBytes;
        }

        return BlockRange.FromEnds(endBytes, endBytes);
    }

    /// <summary>Closes the connections. Idempotent.</summary>
    public ValueTask DisposeAsync() => Snapshot.DisposeAsync();
}
