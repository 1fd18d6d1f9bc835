// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <summary>Asks a server what an export is of (<see cref="IdentityNames"/>).</summary>
/// <remarks>A server that is none of Fleece, or an older one, lists no such names or does not know the option: it tells nothing, which is
/// no error. What is told and malformed is one, because it decides what a backup is taken as (rule R5).</remarks>
internal static class IdentityQuery
{
    /// <summary>What was told, by key; empty for nothing.</summary>
    /// <param name="channel">A channel on which structured replies were agreed.</param>
    /// <param name="exportName">The export.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="Block.BlockException"><see cref="Block.BlockErrorKind.ProtocolViolated"/></exception>
    public static async ValueTask<IReadOnlyDictionary<string, string>> AskAsync(
        OptionChannel channel, string exportName, CancellationToken cancellationToken)
    {
        await channel.SendAsync(NbdOption.ListMetaContext, Describe(exportName), cancellationToken).ConfigureAwait(false);
        Dictionary<string, string> told = new(StringComparer.Ordinal);
        for (int replies = 0; replies < NbdLimits.MaximumOptionReplies; replies++)
        {
            (OptionReply type, byte[] reply) =
                await channel.ReadReplyAsync(NbdOption.ListMetaContext, cancellationToken).ConfigureAwait(false);
            switch (type)
            {
                case OptionReply.Ack when reply.Length == 0:
                    return told;
                case OptionReply.MetaContext:
                    Add(channel, reply, told);
                    break;
                case var _ when type.IsError():
                    // An export that it does not know is told by GO.
                    return new Dictionary<string, string>();
                default:
                    throw channel.Violation($"reply {(uint)type} to ListMetaContext", "contexts and an empty ACK");
            }
        }

        throw channel.Violation($"more than {NbdLimits.MaximumOptionReplies} replies to ListMetaContext", "fewer");
    }

    /// <summary>True when two connections were told of the same export.</summary>
    public static bool AreSame(IReadOnlyDictionary<string, string> told, IReadOnlyDictionary<string, string> other) =>
        FindDifference(told, other).Length == 0;

    /// <summary>The keys of which two connections were told different things, for a message.</summary>
    public static string[] FindDifference(IReadOnlyDictionary<string, string> told, IReadOnlyDictionary<string, string> other) =>
        [.. told.Keys.Union(other.Keys)
            .Where(key => key != IdentityNames.Guests && told.GetValueOrDefault(key) != other.GetValueOrDefault(key))
            .Order(StringComparer.Ordinal)];

    private static void Add(OptionChannel channel, byte[] reply, Dictionary<string, string> told)
    {
        WireReader reader = new(reply);
        if (!reader.TryTakeUInt32(out _) || !reader.TryTakeString(reader.Rest.Length, out string name))
        {
            throw channel.Violation($"a context of {reply.Length} bytes", "a number and a name");
        }

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

    private static byte[] Describe(string exportName)
    {
        byte[] name = Encoding.UTF8.GetBytes(exportName);
        byte[] query = Encoding.UTF8.GetBytes(MetaContexts.FleeceIdentity);
        byte[] data = new byte[3 * sizeof(uint) + name.Length + query.Length];
        BinaryPrimitives.WriteUInt32BigEndian(data, (uint)name.Length);
        name.CopyTo(data, sizeof(uint));
        Span<byte> queries = data.AsSpan(sizeof(uint) + name.Length);
        BinaryPrimitives.WriteUInt32BigEndian(queries, 1);
        BinaryPrimitives.WriteUInt32BigEndian(queries[sizeof(uint)..], (uint)query.Length);
        query.CopyTo(queries[(2 * sizeof(uint))..]);
        return data;
    }
}
