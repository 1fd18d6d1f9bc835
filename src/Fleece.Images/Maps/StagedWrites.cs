// SPDX-License-Identifier: MIT
using Fleece.Images.Container;

namespace Fleece.Images.Maps;

/// <summary>Changed metadata that was captured in one moment, in the stages in which it goes to the disk.</summary>
/// <remarks>Threading. One thread at a time, which has the turn of the write-back. The buffer lasts as long as the image is open.</remarks>
/// <param name="stageCount">Stages of the format.</param>
internal sealed class StagedWrites(int stageCount)
{
    private const int FirstBufferBytes = 64 * 1024;

    private readonly Stage[] _stages = [.. Enumerable.Range(0, stageCount).Select(_ => new Stage())];
    private byte[] _buffer = new byte[FirstBufferBytes];
    private int _bufferEnd;

    /// <summary>Adds a piece to a stage.</summary>
    /// <param name="stage">From 0 on.</param>
    /// <param name="offsetBytes">Where it goes in the file.</param>
    /// <param name="lengthBytes">At least 1.</param>
    /// <returns>Its bytes, at a multiple of 8, to be filled before the next piece is added.</returns>
    public Span<byte> Add(int stage, long offsetBytes, int lengthBytes)
    {
        int start = _bufferEnd;
        if (start + lengthBytes > _buffer.Length)
        {
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, start + lengthBytes));
        }

        _stages[stage].Pieces.Add(new Piece(offsetBytes, start, lengthBytes));
        _bufferEnd = (start + lengthBytes + sizeof(ulong) - 1) & -sizeof(ulong);
        return _buffer.AsSpan(start, lengthBytes);
    }

    /// <summary>True when a stage has nothing to write.</summary>
    public bool IsEmpty(int stage) => _stages[stage].Pieces.Count == 0;

    /// <summary>Has a stage end with a flush of the file: later stages, and the caller, build on it.</summary>
    /// <param name="stage">From 0 on.</param>
    /// <param name="whenFlushed">Called behind the flush; null for none.</param>
    public void Flush(int stage, Action? whenFlushed = null)
    {
        _stages[stage].IsFlushed = true;
        _stages[stage].WhenFlushed = whenFlushed;
    }

    /// <summary>Writes all stages in their order.</summary>
    public void WriteTo(IContainerFile file)
    {
        foreach (Stage stage in _stages)
        {
            foreach (Piece piece in stage.Pieces)
            {
                file.Write(piece.OffsetBytes, _buffer.AsSpan(piece.BufferStart, piece.LengthBytes));
            }

            if (stage.IsFlushed)
            {
                file.Flush();
                stage.WhenFlushed?.Invoke();
            }
        }
    }

    public void Clear()
    {
        _bufferEnd = 0;
        foreach (Stage stage in _stages)
        {
            stage.Pieces.Clear();
            stage.IsFlushed = false;
            stage.WhenFlushed = null;
        }
    }

    private readonly record struct Piece(long OffsetBytes, int BufferStart, int LengthBytes);

    private sealed class Stage
    {
        public List<Piece> Pieces { get; } = [];

        public bool IsFlushed { get; set; }

        public Action? WhenFlushed { get; set; }
    }
}
