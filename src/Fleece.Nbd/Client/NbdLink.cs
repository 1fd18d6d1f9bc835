// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Nbd.Client;

/// <summary>A connection whose handshake is done.</summary>
/// <param name="Socket">What to close to end everything that waits for it.</param>
/// <param name="Stream">What to read and write, over <paramref name="Socket"/>.</param>
/// <param name="Export">What was agreed.</param>
internal sealed record NbdLink(Socket Socket, Stream Stream, AgreedExport Export) : IAsyncDisposable
{
    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        Socket.Dispose();
        return Stream.DisposeAsync();
    }
}
