// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Tls;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <summary>An export as its server describes it.</summary>
public sealed record NbdImageInfo
{
    // Source: NBD protocol, "Transmission flags".
    private static readonly (TransmissionFlags Flag, string Name)[] Offers =
    [
        (TransmissionFlags.SendFlush, "FLUSH"),
        (TransmissionFlags.SendFua, "FUA"),
        (TransmissionFlags.SendTrim, "TRIM"),
        (TransmissionFlags.SendWriteZeroes, "WRITE_ZEROES"),
        (TransmissionFlags.SendFastZero, "FAST_ZERO"),
        (TransmissionFlags.SendCache, "CACHE"),
        (TransmissionFlags.SendDf, "DF"),
        (TransmissionFlags.CanMultiConn, "MULTI_CONN"),
        (TransmissionFlags.Rotational, "ROTATIONAL"),
    ];

    /// <summary>The URI.</summary>
    public required string Path { get; init; }

    /// <summary>Size of the disk in bytes.</summary>
    public required long SizeBytes { get; init; }

    /// <summary>True when the server takes no writes.</summary>
    public required bool IsReadOnly { get; init; }

    /// <summary>Offsets and lengths of requests are multiples of this power of two; null where the server announces no block sizes.
    /// </summary>
    public long? MinimumBlockSizeBytes { get; init; }

    /// <summary>The size of requests that suits the server best; null likewise.</summary>
    public long? PreferredBlockSizeBytes { get; init; }

    /// <summary>The largest read or write, 4294967295 for no limit; null likewise.</summary>
    public long? MaximumBlockSizeBytes { get; init; }

    /// <summary>The operations that the server offers beside reading, by the names of the protocol's flags: FLUSH, FUA, TRIM and so on.
    /// </summary>
    public required IReadOnlyList<string> Features { get; init; }

    /// <summary>The names of the metadata contexts that a client can choose, printable.</summary>
    public required IReadOnlyList<string> Contexts { get; init; }

    /// <summary>The disk or the snapshot behind the export as a server of Fleece identifies it, by key, printable; empty for others.
    /// </summary>
    public required IReadOnlyDictionary<string, string> Identity { get; init; }

    /// <summary>Connects, asks and ends the connection.</summary>
    /// <exception cref="BlockException">As <see cref="NbdNode.ConnectAsync"/>.</exception>
    internal static async ValueTask<NbdImageInfo> ReadAsync(NbdUri uri, TlsClientOptions? tls, CancellationToken cancellationToken)
    {
        NbdNodeOptions options = new() { Tls = tls, IsReadOnly = true, MaximumConnections = 1, ListsContexts = true };
        NbdNode node = await NbdNode.ConnectAsync(uri, options, cancellationToken).ConfigureAwait(false);
        await using (node.ConfigureAwait(false))
        {
            AgreedExport agreed = node.Agreed;
            Dictionary<string, string> identity = [];
            foreach ((string key, string value) in node.Identity)
            {
                identity[PrintableText.Of(key)] = PrintableText.Of(value);
            }

            return new NbdImageInfo
            {
                Path = uri.ToString(),
                SizeBytes = agreed.LengthBytes,
                IsReadOnly = agreed.IsReadOnly,
                MinimumBlockSizeBytes = agreed.BlockSizesBytes?.Minimum,
                PreferredBlockSizeBytes = agreed.BlockSizesBytes?.Preferred,
                MaximumBlockSizeBytes = agreed.BlockSizesBytes?.Maximum,
                Features = [.. Offers.Where(offer => agreed.Offers(offer.Flag)).Select(offer => offer.Name)],
                Contexts = [.. (agreed.Contexts ?? []).Select(name => PrintableText.Of(name))],
                Identity = identity,
            };
        }
    }
}
