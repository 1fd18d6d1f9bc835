// SPDX-License-Identifier: MIT
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client.Negotiation;

/// <summary>Asks a server what an export is of (<see cref="IdentityNames"/>).</summary>
/// <remarks>A server that is none of Fleece, or an older one, lists no such names or does not know the option: it tells nothing, which is
/// no error. A malformed answer is one, because it decides which disk a backup is put down to (rule R5).</remarks>
internal static class IdentityQuery
{
    /// <summary>What was told, by key; empty for nothing.</summary>
    /// <param name="channel">A channel on which structured replies were agreed.</param>
    /// <param name="exportName">The export.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="Block.BlockException"><see cref="NbdErrors.ProtocolViolated"/></exception>
    public static async ValueTask<IReadOnlyDictionary<string, string>> AskAsync(
        OptionChannel channel, string exportName, CancellationToken cancellationToken)
    {
        Dictionary<string, string> told = new(StringComparer.Ordinal);
        string[] queries = [MetaContexts.FleeceIdentity];
        return await ContextQuestion
            .AskAsync(
                channel, NbdOption.ListMetaContext, exportName, queries, (_, name) => Add(channel, name, told), cancellationToken)
            .ConfigureAwait(false) ? told : new Dictionary<string, string>();
    }

    /// <summary>True when two connections were told of the same export.</summary>
    public static bool AreSame(IReadOnlyDictionary<string, string> told, IReadOnlyDictionary<string, string> other) =>
        FindDifference(told, other).Length == 0;

    /// <summary>The keys of which two connections were told different things, for a message.</summary>
    public static string[] FindDifference(IReadOnlyDictionary<string, string> told, IReadOnlyDictionary<string, string> other) =>
        [.. told.Keys.Union(other.Keys)
            .Where(key => key != IdentityNames.Guests && told.GetValueOrDefault(key) != other.GetValueOrDefault(key))
            .Order(StringComparer.Ordinal)];

    private static void Add(OptionChannel channel, string name, Dictionary<string, string> told)
    {
        if (!name.StartsWith(MetaContexts.FleeceIdentity, StringComparison.Ordinal))
        {
            // A server that lists all it has, whatever is asked.
            return;
        }

        if (!IdentityNames.TryDecode(name, out string key, out string value))
        {
            throw channel.Violation($"a malformed identity{ServerErrors.Quote(name)}", "KEY=VALUE, escaped as in a URI");
        }

        if (!told.TryAdd(key, value) || told.Count > IdentityNames.MaximumCount)
        {
            throw channel.Violation(
                $"{told.Count} pairs of an identity and then '{key}'", $"each key once, and at most {IdentityNames.MaximumCount}");
        }
    }
}
