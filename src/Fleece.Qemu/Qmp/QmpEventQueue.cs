// SPDX-License-Identifier: MIT
using System.Text.Json;

namespace Fleece.Qemu.Qmp;

/// <summary>Events that came and that no caller has waited for yet; the oldest are dropped when there are too many.</summary>
internal sealed class QmpEventQueue
{
    /// <summary>Most events.</summary>
    public const int MaximumCount = 1000;

    /// <summary>Most bytes of their text.</summary>
    public const int MaximumBytes = 4 << 20;

    private readonly LinkedList<(string Name, JsonElement Data, int SizeBytes)> _events = [];
    private long _sizeBytes;

    /// <summary>Events that wait.</summary>
    public int Count => _events.Count;

    /// <summary>Forgets all events.</summary>
    public void Clear()
    {
        _events.Clear();
        _sizeBytes = 0;
    }

    /// <summary>Adds an event.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="data">Its data.</param>
    /// <param name="sizeBytes">Bytes of its text.</param>
    public void Add(string name, JsonElement data, int sizeBytes)
    {
        _events.AddLast((name, data, sizeBytes));
        _sizeBytes += sizeBytes;
        while (_events.First is { } oldest && (_events.Count > MaximumCount || _sizeBytes > MaximumBytes))
        {
            Remove(oldest);
        }
    }

    /// <summary>Takes the oldest event of a name that the caller wants.</summary>
    public bool TryTake(string name, Func<JsonElement, bool> isWanted)
    {
        for (var next = _events.First; next is not null; next = next.Next)
        {
            if (next.Value.Name == name && isWanted(next.Value.Data))
            {
                Remove(next);
                return true;
            }
        }

        return false;
    }

    private void Remove(LinkedListNode<(string Name, JsonElement Data, int SizeBytes)> entry)
    {
        _sizeBytes -= entry.Value.SizeBytes;
        _events.Remove(entry);
    }
}
