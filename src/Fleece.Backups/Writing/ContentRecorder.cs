// SPDX-License-Identifier: MIT
using System.Threading.Channels;
using Fleece.Backups.Content;
using Fleece.Backups.Reading;
using Fleece.Block;
using Fleece.Disks;

namespace Fleece.Backups.Writing;

/// <summary>Notes what goes into a backup: zeros at once, data by threads that digest it and hand it on to those who store it.</summary>
/// <remarks>
/// <para>Digesting takes longer than reading from a good disk, so several threads may share it. A digest takes its bytes in order: the
/// chunks of an extent go to one thread, those of the next extent to the next thread.</para>
/// <para>Threading. One producer, which ends with <see cref="Close"/>; <see cref="Finish"/> when <see cref="Ended"/> has completed.
/// Ownership. Every chunk that was written to <see cref="WriterFor"/> reaches the one who stores.</para>
/// </remarks>
internal sealed class ContentRecorder : IDisposable
{
    // More digest faster than chunks are read and written.
    private const int MaximumThreads = 4;

    // An extent, in chunks of the default size: while it is digested, those of the next extent find room with the next thread.
    private const int QueuedChunks = 4;

    private readonly Func<SnapshotChunk, ValueTask> _store;
    private readonly CancellationToken _stopping;
    private readonly Channel<SnapshotChunk>[] _arrived;
    private readonly ExtentDigests[] _digests;
    private readonly List<ContentExtent> _zeroes = [];

    /// <summary>Starts the threads.</summary>
    /// <param name="name">What they are called.</param>
    /// <param name="threads">How many, 1 or more.</param>
    /// <param name="store">Takes over a chunk that was digested. It does not throw.</param>
    /// <param name="stopping">Cancelled when the digests are not needed any more; chunks are handed on without them.</param>
    public ContentRecorder(string name, int threads, Func<SnapshotChunk, ValueTask> store, CancellationToken stopping)
    {
        _store = store;
        _stopping = stopping;
        _arrived = new Channel<SnapshotChunk>[threads];
        _digests = new ExtentDigests[threads];
        Task[] ended = new Task[threads];
        for (int i = 0; i < threads; i++)
        {
            Channel<SnapshotChunk> arrived = _arrived[i] = Channel.CreateBounded<SnapshotChunk>(
                new BoundedChannelOptions(QueuedChunks) { SingleWriter = true, SingleReader = true });
            ExtentDigests digests = _digests[i] = new ExtentDigests();
            ended[i] = OwnThread.Start(() => DigestAsync(arrived.Reader, digests), name);
        }

        Ended = Task.WhenAll(ended);
    }

    /// <summary>Completes when all chunks have been handed on and no more come.</summary>
    public Task Ended { get; }

    /// <summary>How many threads serve a backup best: the guest needs processors too, and so do those who read and write.</summary>
    public static int ThreadsFor(int processors) => Math.Clamp(processors / 2, 1, MaximumThreads);

    /// <summary>Notes zeros.</summary>
    public void AddZeroes(BlockRange range)
    {
        if (_zeroes is [.., { } last] && last.Range.EndBytes == range.OffsetBytes)
        {
            _zeroes[^1] = new ContentExtent(BlockRange.FromEnds(last.Range.OffsetBytes, range.EndBytes), null);
            return;
        }

        _zeroes.Add(new ContentExtent(range, null));
    }

    /// <summary>Where a chunk with data goes.</summary>
    public ChannelWriter<SnapshotChunk> WriterFor(SnapshotChunk chunk) =>
        _arrived[chunk.OffsetBytes / Math.Max(ContentExtent.ExtentBytes, chunk.LengthBytes) % _arrived.Length].Writer;

    /// <summary>Takes no more chunks. Idempotent.</summary>
    public void Close()
    {
        foreach (Channel<SnapshotChunk> arrived in _arrived)
        {
            arrived.Writer.TryComplete();
        }
    }

    /// <summary>What was noted, in the disk's order.</summary>
    public IReadOnlyList<ContentExtent> Finish()
    {
        List<ContentExtent> extents = [.. _zeroes];
        foreach (ExtentDigests digests in _digests)
        {
            extents.AddRange(digests.Finish());
        }

        extents.Sort(static (left, right) => left.Range.OffsetBytes.CompareTo(right.Range.OffsetBytes));
        return extents;
    }

    public void Dispose()
    {
        foreach (ExtentDigests digests in _digests)
        {
            digests.Dispose();
        }
    }

    private async Task DigestAsync(ChannelReader<SnapshotChunk> arrived, ExtentDigests digests)
    {
        await foreach (SnapshotChunk chunk in arrived.ReadAllAsync().ConfigureAwait(false))
        {
            if (!_stopping.IsCancellationRequested)
            {
                digests.Add(chunk.OffsetBytes, chunk.Data);
            }

            await _store(chunk).ConfigureAwait(false);
        }
    }
}
