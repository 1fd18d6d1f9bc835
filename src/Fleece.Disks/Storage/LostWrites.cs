// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Disks.Storage;

/// <summary>Writes of guests that were answered before a process or the system ended, that no flush had followed, and that may be gone.
/// </summary>
/// <remarks>
/// <para>A guest that connects again lives on with them. So its first flush, or write with FUA, fails: as after a failed write-back of a
/// disk of its own, it then knows that what it wrote since its last flush may not be there. That happens once for a disk, whichever client
/// asks first. Flushes of Fleece itself are none of a guest's.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class LostWrites
{
    private readonly Lock _lock = new();
    private string? _reason;
    private bool _reachesThisMachine;
    private bool _isLasting;
    private volatile bool _isUntold;

    /// <summary>How it came about; a whole sentence. Null when nothing is lost.</summary>
    public string? Reason
    {
        get
        {
            lock (_lock)
            {
                return _reason;
            }
        }
    }

    /// <summary>The loss and how it came about, for the disk's administrator; null when nothing is lost.</summary>
    public string? Warning => Reason is { } reason ? $"Guest writes since the last flush may be lost. {reason}" : null;

    /// <summary>True until a client was told.</summary>
    public bool IsUntold => _isUntold;

    /// <summary>True until a client of this machine was told that may have written what is lost.</summary>
    public bool IsUntoldHere
    {
        get
        {
            lock (_lock)
            {
                return _isUntold && _reachesThisMachine;
            }
        }
    }

    /// <summary>Called with the error that a client is given; on the thread of its request.</summary>
    public Action<BlockException>? Told { get; set; }

    /// <summary>Called when a loss was noted; on that thread.</summary>
    public Action? Noted { get; set; }

    /// <summary>Says that writes may be lost.</summary>
    /// <param name="reason">How it came about; a whole sentence.</param>
    /// <param name="reachesThisMachine">False where the system has ended too: clients of this machine ended with it, and those that connect
    /// now have written nothing before.</param>
    /// <param name="isLasting">True where no later flush of this process can store them either.</param>
    public void Note(string reason, bool reachesThisMachine, bool isLasting = false)
    {
        lock (_lock)
        {
            _reason ??= reason;
            _reachesThisMachine |= reachesThisMachine;
            _isLasting |= isLasting;
            _isUntold = true;
        }

        Noted?.Invoke();
    }

    /// <summary>Fails once, for the first client that may have written what was lost.</summary>
    /// <param name="disk">The disk's name.</param>
    /// <param name="path">Its image.</param>
    /// <param name="isOfThisMachine">True for a client of this machine.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.IoFailed"/>.</exception>
    public void Tell(string disk, string path, bool isOfThisMachine)
    {
        if (!_isUntold)
        {
            return;
        }

        BlockException error;
        lock (_lock)
        {
            if (!_isUntold || (isOfThisMachine && !_reachesThisMachine))
            {
                return;
            }

            _isUntold = false;
            error = new BlockException(
                BlockErrors.IoFailed,
                $"Writes to the disk '{disk}' that were answered and not flushed may be lost. {_reason} " +
                (_isLasting
                    ? "Later flushes fail too, until the disk is mounted again. "
                    : "This one flush fails so that its client knows; later ones are as ever. ") +
                "Check the guest's file systems.",
                path,
                operation: "flush");
        }

        Told?.Invoke(error);
        throw error;
    }
}
