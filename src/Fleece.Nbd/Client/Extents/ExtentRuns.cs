// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Nbd.Client.Extents;

/// <summary>Consecutive runs of bytes with their flags, as one context of one reply tells them; equal neighbours are one.</summary>
internal sealed class ExtentRuns(BlockRange asked)
{
    private readonly List<(long EndBytes, ulong Flags)> _runs = [];
    private long _describedBytes;

    /// <summary>Adds a run behind the others; the last may reach beyond what was asked, which is cut off.</summary>
    /// <returns>False when the run is empty, or what was asked is described already.</returns>
    public bool TryAdd(ulong lengthBytes, ulong flags)
    {
        if (lengthBytes == 0 || _describedBytes == asked.LengthBytes)
        {
            return false;
        }

        _describedBytes += (long)Math.Min(lengthBytes, (ulong)(asked.LengthBytes - _describedBytes));
        long endBytes = asked.OffsetBytes + _describedBytes;
        if (_runs.Count != 0 && _runs[^1].Flags == flags)
        {
            _runs[^1] = (endBytes, flags);
        }
        else
        {
            _runs.Add((endBytes, flags));
        }

        return true;
    }

    /// <summary>The run that holds a byte that is described.</summary>
    public (long EndBytes, ulong Flags) Find(long offsetBytes)
    {
        int low = 0;
        int high = _runs.Count - 1;
        while (low < high)
        {
            int middle = (low + high) / 2;
            (low, high) = _runs[middle].EndBytes > offsetBytes ? (low, middle) : (middle + 1, high);
        }

        return _runs[low];
    }

    /// <summary>True when the byte is described.</summary>
    public bool Holds(long offsetBytes) =>
        offsetBytes >= asked.OffsetBytes && offsetBytes - asked.OffsetBytes < _describedBytes;
}
