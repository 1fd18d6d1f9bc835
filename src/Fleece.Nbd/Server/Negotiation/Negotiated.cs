// SPDX-License-Identifier: MIT
using Fleece.Nbd.Server.Exports;

namespace Fleece.Nbd.Server.Negotiation;

/// <summary>A metadata context that a client chose, under the id it got.</summary>
internal readonly record struct ChosenContext(uint Id, IStatusContext Context);

/// <summary>What a handshake came to.</summary>
/// <param name="Stream">The connection, encrypted when TLS was started.</param>
/// <param name="Export">The export.</param>
/// <param name="IsStructured">Replies are structured.</param>
/// <param name="IsExtended">Headers are extended; implies structured replies.</param>
/// <param name="Contexts">The metadata contexts the client chose.</param>
internal sealed record Negotiated(
    Stream Stream, NbdExport Export, bool IsStructured, bool IsExtended, IReadOnlyList<ChosenContext> Contexts);
