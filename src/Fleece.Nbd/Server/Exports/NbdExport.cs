// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Exports;

/// <summary>What clients may do with an export.</summary>
public enum ExportAccess
{
    /// <summary>Read, and ask for status.</summary>
    Read,

    /// <summary>Read, ask for status, and discard what was consumed. The export is announced as writable, for only such
    /// exports may announce discarding; writes are refused.</summary>
    Consume,

    /// <summary>Everything.</summary>
    Write,
}

/// <summary>One thing a server offers under one name.</summary>
/// <remarks>
/// Several connections to it are coherent: they share the device, so a flush on one covers what completed on all.
/// Ownership. The export owns nothing; whoever made it closes the device after <see cref="Ended"/>.
/// </remarks>
internal sealed record NbdExport
{
    /// <summary>The name clients ask for, at most 4096 bytes of UTF-8.</summary>
    public required string Name { get; init; }

    /// <summary>Text for people; may be empty.</summary>
    public string Description { get; init; } = string.Empty;

    /// <summary>What requests go to.</summary>
    public required BlockDevice Device { get; init; }

    /// <summary>How a client's discard is done; null for the device's own way.</summary>
    public Func<BlockRange, CancellationToken, ValueTask>? Discard { get; init; }

    /// <summary>Called before a flush, and before a request with FUA, is done; the client gets what it throws. Null for nothing.</summary>
    public Action? CheckDurability { get; init; }

    /// <summary>What clients may do.</summary>
    public required ExportAccess Access { get; init; }

    /// <summary>The metadata contexts on offer.</summary>
    public required IReadOnlyList<IStatusContext> Contexts { get; init; }

    /// <summary>What the export is of, as keys and values that <see cref="IdentityNames"/> can tell; empty to tell nothing. They are listed
    /// for their own query alone. A client that was told is not let into another export that has the name then.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Identity { get; init; } = [];

    /// <summary>True to put the engine's kind of error before the text of each (<see cref="KindTexts"/>), for clients that are Fleece's and
    /// read it back.</summary>
    public bool TellsKinds { get; init; }

    /// <summary>Where the requests of its clients are counted; null for nowhere.</summary>
    public ExportTraffic? Traffic { get; init; }

    /// <summary>Cancelled when the export goes away; its connections then end after the requests in flight.</summary>
    public CancellationToken Ended { get; init; }

    /// <summary>Blocks smaller than this are refused.</summary>
    internal int MinimumBlockBytes => Device.Geometry.RequestAlignmentBytes;

    internal long LengthBytes => Device.Geometry.LengthBytes;

    /// <summary>True when clients are told the same of both; how many use them now is no part of that.</summary>
    internal bool HasIdentityOf(NbdExport other) =>
        Name == other.Name && Lasting(Identity).SequenceEqual(Lasting(other.Identity));

    private static IEnumerable<KeyValuePair<string, string>> Lasting(IEnumerable<KeyValuePair<string, string>> identity) =>
        identity.Where(pair => pair.Key != IdentityNames.Guests);

    internal TransmissionFlags GetFlags(bool isStructured, bool isExtended)
    {
        TransmissionFlags flags = TransmissionFlags.HasFlags | TransmissionFlags.SendFlush | TransmissionFlags.SendCache |
            TransmissionFlags.CanMultiConn;
        flags |= Access switch
        {
            ExportAccess.Read => TransmissionFlags.ReadOnly,
            ExportAccess.Consume => TransmissionFlags.SendTrim,
            _ => TransmissionFlags.SendTrim | TransmissionFlags.SendFua | TransmissionFlags.SendWriteZeroes |
                TransmissionFlags.SendFastZero,
        };
        flags |= isStructured ? TransmissionFlags.SendDf : 0;
        return flags | (isExtended ? TransmissionFlags.BlockStatusPayload : 0);
    }
}

/// <summary>Where a listener finds its exports, asked anew by every client.</summary>
/// <remarks>Threading. All members from any thread.</remarks>
internal interface IExportDirectory
{
    /// <summary>The exports as they are now, in the order clients are to list them.</summary>
    IReadOnlyList<NbdExport> List();

    /// <summary>The export of that name, or null. The empty name asks for the default export.</summary>
    NbdExport? Find(string name);
}
