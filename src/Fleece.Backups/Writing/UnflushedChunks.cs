// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Block;

namespace Fleece.Backups.Writing;

/// <summary>Chunks that a target has stored and not yet made durable; they are confirmed by a flush now and then.</summary>
/// <remarks>
/// Their memory is given back at once; what is kept is the right to consume them.
/// Threading. All members are safe from any thread; <see cref="Abandon"/> when no other is running.
/// </remarks>
internal sealed class UnflushedChunks(IBlockNode target, Action<SnapshotChunk> confirm)
{
    // Seldom enough for flushes to cost nothing beside the data, often enough for temp to be given back while the backup runs.
    private const long FlushEveryBytes = 256 * 1024 * 1024;

    private readonly Lock _lock = new();
    private List<SnapshotChunk> _chunks = [];
    private long _bytes;

    /// <summary>Adds a stored chunk, and flushes when enough have gathered.</summary>
    /// <exception cref="BlockException">What the flush failed with; the chunks of it are abandoned.</exception>
    public async ValueTask AddAsync(SnapshotChunk chunk, CancellationToken cancellationToken)
    {
        chunk.RecycleTakenOver();
        bool isEnough;
        lock (_lock)
        {
            _chunks.Add(chunk);
            _bytes += chunk.IsZero ? 0 : chunk.LengthBytes;
            isEnough = _bytes >= FlushEveryBytes;
        }

        if (isEnough)
        {
            await FlushAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Makes what was added durable and confirms it; nothing where nothing was.</summary>
    /// <inheritdoc cref="AddAsync" path="/exception"/>
    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        List<SnapshotChunk> flushed = Take();
        if (flushed.Count == 0)
        {
            return;
        }

        bool isDurable = false;
        try
        {
            await target.FlushAsync(cancellationToken).ConfigureAwait(false);
            isDurable = true;
        }
        finally
        {
            foreach (SnapshotChunk chunk in flushed)
            {
                if (isDurable)
                {
                    confirm(chunk);
                }
                else
                {
                    chunk.EndTakenOver(isStored: false);
                }
            }
        }
    }

    /// <summary>Lets the chunks stay in the snapshot.</summary>
    public void Abandon()
    {
        foreach (SnapshotChunk chunk in Take())
        {
            chunk.EndTakenOver(isStored: false);
        }
    }

    private List<SnapshotChunk> Take()
    {
        lock (_lock)
        {
            List<SnapshotChunk> taken = _chunks;
            _chunks = [];
            _bytes = 0;
            return taken;
        }
    }
}
