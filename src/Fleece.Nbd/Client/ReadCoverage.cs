// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Client;

/// <summary>Which bytes of one read have come, where a server may send them in pieces and in any order.</summary>
internal sealed class ReadCoverage
{
    // Servers send pieces in order, or a few at once. What is beyond this is not a reply but an attempt to keep the client busy.
    private const int MaximumIslands = 1024;

    // Disjoint and in order; used only by replies out of order.
    private readonly List<(long Start, long End)> _islands = [];
    private long _frontEnd;

    /// <summary>Takes a piece.</summary>
    /// <returns>False when a byte of it came before, or the reply lies in more pieces than any server has reason for.</returns>
    public bool TryAdd(long start, long end)
    {
        if (start == _frontEnd && (_islands.Count == 0 || end <= _islands[0].Start))
        {
            _frontEnd = end;
            AbsorbIslands();
            return true;
        }

        if (start < _frontEnd || _islands.Count == MaximumIslands)
        {
            return false;
        }

        int index = _islands.Count;
        while (index > 0 && _islands[index - 1].Start >= end)
        {
            index--;
        }

        if (index > 0 && _islands[index - 1].End > start)
        {
            return false;
        }

        if (index > 0 && _islands[index - 1].End == start)
        {
            _islands[index - 1] = (_islands[index - 1].Start, end);
        }
        else
        {
            _islands.Insert(index, (start, end));
        }

        return true;
    }

    /// <summary>True when every byte up to there has come.</summary>
    public bool IsComplete(long lengthBytes) => _frontEnd == lengthBytes;

    public void Clear()
    {
        _frontEnd = 0;
        _islands.Clear();
    }

    private void AbsorbIslands()
    {
        int absorbed = 0;
        while (absorbed < _islands.Count && _islands[absorbed].Start == _frontEnd)
        {
            _frontEnd = _islands[absorbed++].End;
        }

        if (absorbed != 0)
        {
            _islands.RemoveRange(0, absorbed);
        }
    }
}
