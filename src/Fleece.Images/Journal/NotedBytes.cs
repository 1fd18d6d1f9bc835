// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Fleece.Images.Journal;

/// <summary>Bytes of an image as notes have them, in cells of four, sorted by their place.</summary>
/// <remarks>Threading. Immutable.</remarks>
internal sealed class NotedBytes
{
    /// <summary>The unit that notes are made of.</summary>
    public const int CellBytes = 4;

    private readonly long[] _offsets;
    private readonly uint[] _values;
    private readonly byte[] _stages;

    /// <param name="cells">By their offset in the image: the bytes, and the stage of the last note of them.</param>
    public NotedBytes(IReadOnlyDictionary<long, (uint Value, byte Stage)> cells)
    {
        _offsets = [.. cells.Keys.Order()];
        _values = new uint[_offsets.Length];
        _stages = new byte[_offsets.Length];
        for (int i = 0; i < _offsets.Length; i++)
        {
            (_values[i], _stages[i]) = cells[_offsets[i]];
        }
    }

    public int CellCount => _offsets.Length;

    public long CellOffsetBytes(int index) => _offsets[index];

    /// <summary>Puts the noted bytes over those of a range of the image.</summary>
    public void Patch(long offsetBytes, Span<byte> bytes)
    {
        int index = Array.BinarySearch(_offsets, offsetBytes / CellBytes * CellBytes);
        for (index = index < 0 ? ~index : index; index < _offsets.Length && _offsets[index] < offsetBytes + bytes.Length; index++)
        {
            Span<byte> cell = MemoryMarshal.AsBytes(_values.AsSpan(index, 1));
            int skippedBytes = (int)Math.Max(0, offsetBytes - _offsets[index]);
            int at = (int)Math.Max(0, _offsets[index] - offsetBytes);
            cell[skippedBytes..Math.Min(CellBytes, skippedBytes + bytes.Length - at)].CopyTo(bytes[at..]);
        }
    }

    /// <summary>The runs of a stage: neighbouring cells at once.</summary>
    public IEnumerable<(long OffsetBytes, byte[] Bytes)> RunsOf(int stage)
    {
        for (int i = 0; i < _offsets.Length;)
        {
            int count = 1;
            while (i + count < _offsets.Length
                && _offsets[i + count] == _offsets[i] + (count * CellBytes) && _stages[i + count] == _stages[i])
            {
                count++;
            }

            if (_stages[i] == stage)
            {
                yield return (_offsets[i], MemoryMarshal.AsBytes(_values.AsSpan(i, count)).ToArray());
            }

            i += count;
        }
    }
}
