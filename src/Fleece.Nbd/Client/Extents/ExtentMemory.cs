// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Client.Extents;

/// <summary>The last reply to a status query, so that a walk over its runs asks the server once.</summary>
/// <remarks>
/// <para>Forgotten when a change begins and again when it ends, and used for a second at most because others may change the export
/// too. A reply to a query that began before a change ended is not remembered: the generation tells.</para>
/// <para>Threading. Safe for concurrent use.</para>
/// </remarks>
internal sealed class ExtentMemory(TimeProvider time)
{
    private static readonly TimeSpan Lifetime = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private StatusReply? _reply;
    private long _rememberedAt;
    private long _generation;

    /// <summary>What a query notes before it begins.</summary>
    public long Generation => Interlocked.Read(ref _generation);

    /// <summary>Keeps a reply, unless something was forgotten since its query noted the generation.</summary>
    public void Remember(StatusReply reply, long generation)
    {
        lock (_gate)
        {
            if (_generation == generation)
            {
                _reply = reply;
                _rememberedAt = time.GetTimestamp();
            }
        }
    }

    /// <summary>The reply that is remembered, or null.</summary>
    public StatusReply? Recall()
    {
        lock (_gate)
        {
            return _reply is not null && time.GetElapsedTime(_rememberedAt) < Lifetime ? _reply : _reply = null;
        }
    }

    /// <summary>Bytes are changing.</summary>
    public void Forget()
    {
        lock (_gate)
        {
            _generation++;
            _reply = null;
        }
    }
}
