// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Disks;

/// <summary>The consumers that a session counts.</summary>
/// <param name="sessionId">The session, for messages.</param>
/// <param name="all">All of them; empty for a session that counts none.</param>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal sealed class SessionConsumers(string sessionId, IReadOnlyList<SessionConsumer> all)
{
    /// <summary>All of them.</summary>
    public IReadOnlyList<SessionConsumer> All => all;

    /// <summary>The consumer of that name; null for none.</summary>
    public SessionConsumer? FindOrNull(string name) =>
        all.FirstOrDefault(consumer => string.Equals(consumer.Name, name, StringComparison.OrdinalIgnoreCase));

    /// <summary>The consumer of that name.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.ConsumerUnknown"/></exception>
    public SessionConsumer Find(string name) => FindOrNull(name) ?? throw new BlockException(
        DiskErrors.ConsumerUnknown,
        all.Count == 0
            ? $"The session '{sessionId}' counts no consumers. Leave -Consumer out, or start the session with -Consumer."
            : $"The session '{sessionId}' counts no consumer named '{name}'. It counts {Names()}.");

    /// <summary>Refuses a reader that is none of them and discards: it would take their ranges from them.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.ConsumerUnknown"/></exception>
    public void RefuseDiscards()
    {
        if (all.Count != 0)
        {
            throw new BlockException(
                DiskErrors.ConsumerUnknown,
                $"The session '{sessionId}' discards what all of its consumers have confirmed, and they are {Names()}. Say with " +
                "-Consumer which of them this is, or leave -DiscardConsumed out.");
        }
    }

    private string Names() => string.Join(", ", all.Select(consumer => $"'{consumer.Name}'"));
}
