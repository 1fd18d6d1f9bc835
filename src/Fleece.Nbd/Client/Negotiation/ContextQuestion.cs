// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client.Negotiation;

/// <summary>Asks for the contexts of an export that fit queries, by LIST_META_CONTEXT or SET_META_CONTEXT: both have the same form.
/// </summary>
internal static class ContextQuestion
{
    /// <summary>Asks.</summary>
    /// <param name="channel">A channel on which structured replies were agreed.</param>
    /// <param name="option">One of the two options.</param>
    /// <param name="exportName">The export.</param>
    /// <param name="queries">Names of contexts, or what names begin with.</param>
    /// <param name="add">Takes each context, its number and its name, as it comes. What it throws ends the question.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>False where the server answers with an error: it has no contexts, or does not know the export, which GO tells.</returns>
    /// <exception cref="Block.BlockException"><see cref="NbdErrors.ProtocolViolated"/></exception>
    public static async ValueTask<bool> AskAsync(
        OptionChannel channel,
        NbdOption option,
        string exportName,
        string[] queries,
        Action<uint, string> add,
        CancellationToken cancellationToken)
    {
        await channel.SendAsync(option, Describe(exportName, queries), cancellationToken).ConfigureAwait(false);
        for (int replies = 0; replies < NbdLimits.MaximumOptionReplies; replies++)
        {
            (OptionReply type, byte[] reply) = await channel.ReadReplyAsync(option, cancellationToken).ConfigureAwait(false);
            switch (type)
            {
                case OptionReply.Ack when reply.Length == 0:
                    return true;
                case OptionReply.MetaContext:
                    Take(channel, reply, add);
                    break;
                case var _ when type.IsError():
                    return false;
                default:
                    throw channel.Violation($"reply {(uint)type} to {option}", "contexts and an empty ACK");
            }
        }

        throw channel.Violation($"more than {NbdLimits.MaximumOptionReplies} replies to {option}", "fewer");
    }

    /// <summary>Writes a string as options have it: u32 length, then the bytes of its UTF-8.</summary>
    public static void WriteString(MemoryStream data, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        WriteUInt32(data, (uint)bytes.Length);
        data.Write(bytes);
    }

    private static void Take(OptionChannel channel, byte[] reply, Action<uint, string> add)
    {
        WireReader reader = new(reply);
        if (!reader.TryTakeUInt32(out uint number) || !reader.TryTakeString(reader.Rest.Length, out string context))
        {
            throw channel.Violation($"a context of {reply.Length} bytes", "a number and a name");
        }

        add(number, context);
    }

    // Source: NBD protocol, "NBD_OPT_LIST_META_CONTEXT" and "NBD_OPT_SET_META_CONTEXT".
    private static byte[] Describe(string exportName, string[] queries)
    {
        using MemoryStream data = new();
        WriteString(data, exportName);
        WriteUInt32(data, (uint)queries.Length);
        foreach (string query in queries)
        {
            WriteString(data, query);
        }

        return data.ToArray();
    }

    private static void WriteUInt32(MemoryStream data, uint value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        data.Write(bytes);
    }
}
