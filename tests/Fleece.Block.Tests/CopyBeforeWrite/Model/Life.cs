// SPDX-License-Identifier: MIT
namespace Fleece.Block.Tests.CopyBeforeWrite.Model;

/// <summary>The life of a process: after so many changes of what outlives it, it is killed, and changes nothing any more.</summary>
/// <remarks>Its threads run on until each has met a <see cref="KilledException"/>, and nothing that they do is seen. Threading. Any thread.
/// </remarks>
internal sealed class Life
{
    private readonly Lock _lock = new();
    private long _left;

    /// <param name="changes">Changes until the kill; null for a process that is not killed.</param>
    public Life(long? changes) => _left = changes ?? long.MaxValue;

    public bool IsOver => Volatile.Read(ref _left) <= 0;

    /// <summary>Makes one change, all of it or none.</summary>
    public void Change(Action change)
    {
        lock (_lock)
        {
            ThrowIfOver();
            change();
            _left--;
        }
    }

    public void ThrowIfOver()
    {
        if (IsOver)
        {
            throw new KilledException();
        }
    }
}

/// <summary>The process was killed before this was done, or before it could be said that it was.</summary>
internal sealed class KilledException : Exception;
