// SPDX-License-Identifier: MIT
namespace Fleece.Nbd;

/// <summary>The kinds of errors that arise between NBD clients and servers.</summary>
public static class NbdErrors
{
    /// <summary>A URI that names no NBD export or listener.</summary>
    public const string UriInvalid = nameof(UriInvalid);

    /// <summary>No server answers at an address.</summary>
    public const string ConnectFailed = nameof(ConnectFailed);

    /// <summary>The connection to an NBD server ended and could not be made again in time.</summary>
    public const string ConnectionLost = nameof(ConnectionLost);

    /// <summary>An NBD server broke the rules of the protocol.</summary>
    public const string ProtocolViolated = nameof(ProtocolViolated);

    /// <summary>TLS was refused, demanded or failed its checks.</summary>
    public const string TlsFailed = nameof(TlsFailed);

    /// <summary>There is no export of that name.</summary>
    public const string ExportUnknown = nameof(ExportUnknown);

    /// <summary>Another process, or another kind of file, has the listener's address.</summary>
    public const string AddressInUse = nameof(AddressInUse);

    /// <summary>A listener beyond this machine, or a socket for all its users, without TLS.</summary>
    public const string InsecureListener = nameof(InsecureListener);
}
