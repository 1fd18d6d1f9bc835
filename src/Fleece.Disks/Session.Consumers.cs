// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Disks;

// Here, because the compiler meets this part of the class first.
#pragma warning disable CA1001 // The token source has no timer and no handle; exports may ask for its token after the end.
public sealed partial class Session
{
    /// <summary>The consumer of that name.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.ConsumerUnknown"/></exception>
    public SessionConsumer FindConsumer(string name) =>
        FindConsumerOrNull(name) ?? throw new BlockException(
            BlockErrorKind.ConsumerUnknown,
            Consumers.Count == 0
                ? $"The session '{Id}' counts no consumers. Leave -Consumer out, or start the session with -Consumer."
                : $"The session '{Id}' counts no consumer named '{name}'. It counts {ListConsumers()}.");

    /// <summary>The snapshot for a reader.</summary>
    /// <param name="consumer">Which of the consumers reads; null for one that is not counted.</param>
    /// <param name="discards">True when the reader discards what it has finished with.</param>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.ConsumerUnknown"/>, also of a reader that would discard and is none of
    /// the consumers: it would take their ranges from them.</exception>
    public ISnapshotSource GetSource(string? consumer, bool discards)
    {
        if (consumer is not null)
        {
            return FindConsumer(consumer);
        }

        return Consumers.Count == 0 || !discards ? this : throw new BlockException(
            BlockErrorKind.ConsumerUnknown,
            $"The session '{Id}' discards what all of its consumers have confirmed, and they are {ListConsumers()}. Say with -Consumer " +
            "which of them this is, or leave -DiscardConsumed out.");
    }

    /// <summary>The consumer of that name; null when the session counts none.</summary>
    internal SessionConsumer? FindConsumerOrNull(string name) =>
        Consumers.FirstOrDefault(consumer => string.Equals(consumer.Name, name, StringComparison.OrdinalIgnoreCase));

    private static void CheckConsumers(IReadOnlyList<string> names)
    {
        HashSet<string> seen = new(StringComparer.OrdinalIgnoreCase);
        foreach (string name in names)
        {
            MountedDisks.CheckName(name);
            if (!seen.Add(name))
            {
                throw new BlockException(
                    BlockErrorKind.InvalidArgument, $"The consumer '{name}' is named twice. Give each consumer a name of its own.");
            }
        }
    }

    private string ListConsumers() => string.Join(", ", Consumers.Select(consumer => $"'{consumer.Name}'"));
}
