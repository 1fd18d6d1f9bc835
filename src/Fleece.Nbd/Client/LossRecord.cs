// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Nbd.Client;

/// <summary>Whether acknowledged writes may have died with a server, and whether the user has been told.</summary>
/// <remarks>
/// <para>Each connection counts the writes it acknowledged and those that a flush over it has covered. When it is lost with a
/// difference, that is one loss here. A flush that was on its way at that moment fails, and if none was, the next one does.</para>
/// <para>Threading. Safe for concurrent use.</para>
/// </remarks>
internal sealed class LossRecord(NbdUri uri)
{
    private readonly Lock _gate = new();
    private long _losses;
    private bool _isUntold;

    /// <summary>What a flush notes before it begins.</summary>
    public long Count
    {
        get
        {
            lock (_gate)
            {
                return _losses;
            }
        }
    }

    /// <summary>A connection was lost with acknowledged writes that no flush had covered.</summary>
    public void Add()
    {
        lock (_gate)
        {
            _losses++;
            _isUntold = true;
        }
    }

    /// <summary>Ends a flush, or a write that is durable by itself.</summary>
    /// <param name="countAtStart"><see cref="Count"/> when it began.</param>
    /// <param name="operation">Its name, for the message.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.IoFailed"/>: there was a loss since, or one that nobody has been
    /// told of.</exception>
    public void ThrowIfLost(long countAtStart, string operation)
    {
        lock (_gate)
        {
            if (_losses == countAtStart && !_isUntold)
            {
                return;
            }

            _isUntold = false;
        }

        throw new BlockException(
            BlockErrors.IoFailed,
            $"The connection to '{uri}' was lost after the server had acknowledged writes and before they were flushed, so it may have " +
            "lost them. To a raw disk, write again what was written since the last flush that succeeded; this is told once. An image on " +
            "the export takes no more writes: dismount it, check it with Test-FleeceImage, and mount it again.",
            uri.ToString(),
            operation: operation);
    }
}
