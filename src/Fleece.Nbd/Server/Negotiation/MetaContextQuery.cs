// SPDX-License-Identifier: MIT
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Negotiation;

/// <summary>What a client asks in LIST_META_CONTEXT and SET_META_CONTEXT: an export and the contexts it wants of it.</summary>
/// <remarks>
/// The data is: u32 length and name of the export, u32 number of queries, then u32 length and text for each. Source: NBD
/// protocol, "NBD_OPT_LIST_META_CONTEXT" and "NBD_OPT_SET_META_CONTEXT".
/// </remarks>
internal readonly record struct MetaContextQuery(string ExportName, IReadOnlyList<string> Queries)
{
    // One bit each in the mask of those that a request's payload names.
    private const int MaximumContexts = 64;

    /// <summary>Reads the option's data; false when its lengths don't fit together.</summary>
    public static bool TryRead(ReadOnlySpan<byte> data, out MetaContextQuery query)
    {
        query = default;
        WireReader reader = new(data);
        if (!reader.TryTakeString(out string exportName) || !reader.TryTakeUInt32(out uint count))
        {
            return false;
        }

        List<string> queries = [];
        for (uint i = 0; i < count; i++)
        {
            if (!reader.TryTakeBytes(out ReadOnlySpan<byte> text))
            {
                return false;
            }

            // A query that can be no name of a context fits none, and is no reason to refuse the others.
            WireReader words = new(text);
            queries.Add(words.TryTakeString(text.Length, out string word) ? word : string.Empty);
        }

        query = new MetaContextQuery(exportName, queries);
        return reader.IsAtEnd;
    }

    /// <summary>The contexts that the queries mean. No query at all means all of them in a list, and none in a choice.</summary>
    public List<ChosenContext> Select(IReadOnlyList<IStatusContext> contexts, bool isChoice)
    {
        List<ChosenContext> found = [];
        for (int i = 0; i < contexts.Count && found.Count < MaximumContexts; i++)
        {
            if (IsMeant(contexts[i].Name, isChoice))
            {
                found.Add(new ChosenContext((uint)i + 1, contexts[i]));
            }
        }

        return found;
    }

    private bool IsMeant(string name, bool isChoice)
    {
        bool isMeant = Queries.Count == 0 && !isChoice;
        foreach (string query in Queries)
        {
            // "base:" lists a whole namespace; a choice has to name the context.
            isMeant |= query == name || (!isChoice && query.EndsWith(':') && name.StartsWith(query, StringComparison.Ordinal));
        }

        return isMeant;
    }
}
