// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server;

/// <content>Metadata contexts, and the identity of an export, which is told in names of contexts.</content>
internal sealed partial class ServerHandshake
{
    private string? _contextsExport;
    private List<ChosenContext> _contexts = [];

    // The name by which an identity was asked last, and the export that had it.
    private (string Name, NbdExport Export)? _told;

    private void AnswerMetaContext(NbdOption option, byte[] data)
    {
        bool isSet = option == NbdOption.SetMetaContext;
        if (isSet)
        {
            // Whatever comes of it, the earlier choice is gone.
            (_contextsExport, _contexts) = (null, []);
        }

        if (!_isStructured)
        {
            Reply(option, OptionReply.ErrorInvalid, "Metadata contexts need structured replies.");
            return;
        }

        if (!MetaContextQuery.TryRead(data, out MetaContextQuery query))
        {
            Reply(option, OptionReply.ErrorInvalid, "The lengths within the option don't fit together.");
            return;
        }

        if (directory.Find(query.ExportName) is not { } export)
        {
            Reply(option, OptionReply.ErrorUnknown, $"There is no export named '{query.ExportName}'.");
            return;
        }

        List<ChosenContext> found = query.Select(export.Contexts, isSet);
        foreach (ChosenContext context in found)
        {
            // An id means nothing in a list.
            Reply(
                option,
                OptionReply.MetaContext,
                [.. BigEndian(isSet ? context.Id : 0), .. Encoding.UTF8.GetBytes(context.Context.Name)]);
        }

        if (!isSet && query.Queries.Contains(MetaContexts.FleeceIdentity, StringComparer.Ordinal))
        {
            _told = (query.ExportName, export);
            foreach ((string key, string value) in export.Identity)
            {
                Reply(option, OptionReply.MetaContext, [.. BigEndian(0u), .. Encoding.UTF8.GetBytes(IdentityNames.Encode(key, value))]);
            }
        }

        Reply(option, OptionReply.Ack);
        if (isSet)
        {
            (_contextsExport, _contexts) = (export.Name, found);
        }
    }

    private void KeepContextsOf(NbdExport export)
    {
        if (_contextsExport != export.Name)
        {
            _contexts = [];
        }
    }

    // Between the question and GO a session may have ended and another begun under its name.
    private bool IsAnotherThanTold(string name, NbdExport export) =>
        _told is { } told && told.Name == name && !told.Export.HasIdentityOf(export);
}
