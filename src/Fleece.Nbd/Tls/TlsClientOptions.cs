// SPDX-License-Identifier: MIT
using System.Security.Cryptography.X509Certificates;

namespace Fleece.Nbd.Tls;

/// <summary>How a client checks a server, and how it proves who it is.</summary>
/// <remarks>
/// <para>TLS 1.2 and 1.3 with X.509 certificates. Pre-shared keys, the other way that NBD tools know, are not offered:
/// .NET's <see cref="System.Net.Security.SslStream"/> has none. The name that the server's certificate must have is
/// <see cref="NbdUri.TlsHostName"/>.</para>
/// <para>Ownership. The certificates stay the caller's, who keeps them until the node has closed.</para>
/// </remarks>
/// <param name="Certificate">The client's certificate with its private key, for servers that ask; or null.</param>
/// <param name="Authorities">
/// Who may have signed the server's certificate, in place of the system's roots; null for those. With authorities of the caller's
/// own, revocation is not looked up.
/// </param>
internal sealed record TlsClientOptions(
    X509Certificate2? Certificate = null, IReadOnlyList<X509Certificate2>? Authorities = null);
