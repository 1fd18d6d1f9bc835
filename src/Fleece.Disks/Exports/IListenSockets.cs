// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Nbd;

namespace Fleece.Disks.Exports;

/// <summary>Keeps listening sockets beyond the end of the process, so that clients connect and wait until the next process accepts them.
/// </summary>
/// <remarks>
/// <para>The address of a unix socket is its full path, that of TCP host and port; export names have no meaning. Nothing here throws: where
/// a socket can't be kept its listener serves all the same, and ends with the process.</para>
/// <para>Threading. <see cref="PublishedExports"/> makes one call at a time.</para>
/// </remarks>
internal interface IListenSockets
{
    /// <summary>Hands out the socket that an earlier process has listened with at an address, once.</summary>
    /// <param name="uri">The address that is to be listened at.</param>
    /// <returns>A descriptor that the caller owns; null when none is kept. The socket stays kept until <see cref="Remove"/>.</returns>
    SafeSocketHandle? Take(NbdUri uri);

    /// <summary>Keeps a socket that has begun to listen.</summary>
    /// <param name="uri">The address, with the port it got.</param>
    /// <param name="socket">The socket; it is the listener's, and what is kept is a duplicate.</param>
    /// <returns>False when the socket can't be kept; its file is then removed at the end of the process as well.</returns>
    bool TryKeep(NbdUri uri, SafeSocketHandle socket);

    /// <summary>Forgets the socket of an address, where one is kept: the listener ends, and not for the end of the process alone.</summary>
    void Remove(NbdUri uri);
}
