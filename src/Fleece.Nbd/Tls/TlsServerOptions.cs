// SPDX-License-Identifier: MIT
using System.Security.Cryptography.X509Certificates;

namespace Fleece.Nbd.Tls;

/// <summary>How a listener proves who it is, and whom it lets in.</summary>
/// <remarks>
/// <para>TLS 1.2 and 1.3 with X.509 certificates. Pre-shared keys, the other way that NBD tools know, are not offered:
/// .NET's <see cref="System.Net.Security.SslStream"/> has none.</para>
/// <para>Ownership. The certificates stay the caller's, who keeps them until the listener has closed.</para>
/// </remarks>
/// <param name="Certificate">The server's certificate, with its private key.</param>
/// <param name="ClientAuthorities">
/// When not null, a client must show a certificate that one of these has signed. Revocation is not looked up.
/// </param>
internal sealed record TlsServerOptions(
    X509Certificate2 Certificate, IReadOnlyList<X509Certificate2>? ClientAuthorities = null);
