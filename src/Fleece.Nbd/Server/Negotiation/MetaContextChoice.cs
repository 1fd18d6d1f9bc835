// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Negotiation;

/// <summary>The metadata contexts that a client chooses, and the identity of an export, which is told in names of contexts.</summary>
/// <remarks>A choice made before TLS began does not count behind it: a new object takes its place.</remarks>
internal sealed class MetaContextChoice(IExportDirectory directory)
{
    private string? _exportName;
    private List<ChosenContext> _chosen = [];

    // The name by which an identity was asked last, and the export that had it.
    private (string Name, NbdExport Export)? _told;

    /// <summary>The choice that holds for an export: contexts of another one count for nothing.</summary>
    public IReadOnlyList<ChosenContext> Of(NbdExport export) => _exportName == export.Name ? _chosen : [];

    /// <summary>True when the name was that of another export when the client asked for its identity: between the question and GO a session
    /// may have ended and another begun under its name.</summary>
    public bool IsAnotherThanTold(string name, NbdExport export) =>
        _told is { } told && told.Name == name && !told.Export.HasIdentityOf(export);

    /// <summary>Answers LIST_META_CONTEXT and SET_META_CONTEXT.</summary>
    public void Answer(NbdOption option, byte[] data, bool isStructured, OptionReplies replies)
    {
        bool isSet = option == NbdOption.SetMetaContext;
        if (isSet)
        {
            // Whatever comes of it, the earlier choice is gone.
            (_exportName, _chosen) = (null, []);
        }

        if (!isStructured)
        {
            replies.Add(option, OptionReply.ErrorInvalid, "Metadata contexts need structured replies.");
            return;
        }

        if (!MetaContextQuery.TryRead(data, out MetaContextQuery query))
        {
            replies.Add(option, OptionReply.ErrorInvalid, "The lengths within the option don't fit together.");
            return;
        }

        if (directory.Find(query.ExportName) is not { } export)
        {
            replies.Add(option, OptionReply.ErrorUnknown, $"There is no export named '{query.ExportName}'.");
            return;
        }

        List<ChosenContext> found = query.Select(export.Contexts, isSet);
        foreach (ChosenContext context in found)
        {
            // An id means nothing in a list.
            AddContext(option, isSet ? context.Id : 0, context.Context.Name, replies);
        }

        if (!isSet && query.Queries.Contains(MetaContexts.FleeceIdentity, StringComparer.Ordinal))
        {
            _told = (query.ExportName, export);
            foreach ((string key, string value) in export.Identity)
            {
                AddContext(option, 0, IdentityNames.Encode(key, value), replies);
            }
        }

        replies.Add(option, OptionReply.Ack);
        if (isSet)
        {
            (_exportName, _chosen) = (export.Name, found);
        }
    }

    private static void AddContext(NbdOption option, uint id, string name, OptionReplies replies) =>
        replies.AddNumbered(option, OptionReply.MetaContext, id, Encoding.UTF8.GetBytes(name));
}
