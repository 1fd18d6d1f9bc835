// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Server;

/// <summary>What a handshake came to.</summary>
/// <param name="Stream">The connection, encrypted when TLS was started.</param>
/// <param name="Export">The export.</param>
/// <param name="IsStructured">Replies are structured.</param>
/// <param name="IsExtended">Headers are extended; implies structured replies.</param>
/// <param name="Contexts">The metadata contexts the client chose.</param>
internal sealed record Negotiated(
    Stream Stream, NbdExport Export, bool IsStructured, bool IsExtended, IReadOnlyList<ChosenContext> Contexts);
