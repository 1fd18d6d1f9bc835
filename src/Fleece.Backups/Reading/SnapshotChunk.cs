// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;

namespace Fleece.Backups.Reading;

/// <summary>A piece of a snapshot on its way down a pipeline.</summary>
/// <remarks>
/// <para>Ownership. A chunk owns its memory until it is disposed; whoever keeps chunks keeps valid data.
/// <see cref="Dispose"/> says "I am finished with this": the memory is recycled and, when the read was started with
/// consumption, the range is discarded from the snapshot. <see cref="Abandon"/> only recycles, and nothing is discarded
/// (I8). A chunk that is simply dropped is collected by the runtime and discards nothing either. A backup that a chunk is
/// sent to takes it over: from then on only the backup ends it, so that nobody recycles bytes that are being stored.</para>
/// <para>Threading. Disposing, abandoning and taking over are safe from any thread; the first of them wins.</para>
/// </remarks>
public sealed class SnapshotChunk : IDisposable
{
    private const int Free = 0;
    private const int TakenOver = 1;
    private const int Ended = 2;

    private readonly ChunkBuffers? _buffers;
    private readonly bool _consumes;
    private byte[]? _data;
    private int _state = Free;

    internal SnapshotChunk(
        SnapshotRead source, BlockRange range, byte[]? data, ChunkBuffers? buffers, bool consumes)
    {
        Source = source;
        OffsetBytes = range.OffsetBytes;
        LengthBytes = range.LengthBytes;
        IsZero = data is null;
        _data = data;
        _buffers = buffers;
        _consumes = consumes;
    }

    /// <summary>Where the piece lies on the disk.</summary>
    public long OffsetBytes { get; }

    /// <summary>Its length; a piece of zeros can be much longer than the read's chunk size. 0 in the one chunk of a disk on which a
    /// bitmap saw no change.</summary>
    public long LengthBytes { get; }

    /// <summary>True when all of it is zero; then no memory holds it until <see cref="Data"/> is asked for.</summary>
    public bool IsZero { get; }

    /// <summary>Size of the whole disk in bytes.</summary>
    public long DiskSizeBytes => Source.DiskSizeBytes;

    /// <summary>The snapshot the piece came from: "DISK/NAME" or a URI.</summary>
    public string Session => Source.SourceId;

    /// <summary>The consumer that it was read for; null for a read that no session counts.</summary>
    public string? Consumer => Source.Source.Consumer;

    /// <summary>The bytes, exactly <see cref="LengthBytes"/> of them. Don't keep the array beyond the chunk.</summary>
    /// <exception cref="ObjectDisposedException">The chunk was disposed.</exception>
    public byte[] Data
    {
        get
        {
            ObjectDisposedException.ThrowIf(Volatile.Read(ref _state) == Ended, this);
            return _data ??= new byte[LengthBytes];
        }
    }

    /// <inheritdoc cref="ISnapshotSource.TakeWarning"/>
    public string? TakeWarning() => Source.Source.TakeWarning();

    internal SnapshotRead Source { get; }

    /// <summary>True when disposing discards the range from the snapshot.</summary>
    internal bool Consumes => _consumes;

    /// <summary>Recycles the memory and, in a consuming read, discards the range. Idempotent.</summary>
    public void Dispose() => End(Free, isFinished: true);

    /// <summary>Recycles the memory and leaves the snapshot as it is. Idempotent.</summary>
    public void Abandon() => End(Free, isFinished: false);

    /// <summary>Place and length, for messages.</summary>
    public override string ToString() => $"{Session} {OffsetBytes}+{LengthBytes}{(IsZero ? " zero" : string.Empty)}";

    /// <summary>Makes the caller the only one who can end the chunk; false when it was ended or taken over before.</summary>
    internal bool TryTakeOver() => Interlocked.CompareExchange(ref _state, TakenOver, Free) == Free;

    /// <summary>Ends a chunk that was taken over: disposes it when its bytes are stored, abandons it otherwise.</summary>
    internal void EndTakenOver(bool isStored) => End(TakenOver, isStored);

    /// <summary>Recycles the memory; the one who has taken the chunk over still ends it.</summary>
    internal void RecycleTakenOver()
    {
        if (_data is not null && !IsZero)
        {
            _buffers?.Return(_data);
        }

        _data = null;
    }

    private void End(int expectedState, bool isFinished)
    {
        if (Interlocked.CompareExchange(ref _state, Ended, expectedState) != expectedState)
        {
            return;
        }

        RecycleTakenOver();
        if (isFinished && _consumes && LengthBytes != 0)
        {
            Source.Confirm(new BlockRange(OffsetBytes, LengthBytes));
        }
    }
}
