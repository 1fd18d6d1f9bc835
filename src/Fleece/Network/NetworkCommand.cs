// SPDX-License-Identifier: MIT
using System.Management.Automation;
using System.Security.Cryptography.X509Certificates;
using Fleece.Hosting.Control;
using Fleece.Nbd.Tls;

namespace Fleece;

/// <summary>What the cmdlets share that can talk TLS.</summary>
public abstract class NetworkCommand : FleeceCommand
{
    /// <summary>
    /// This side's certificate with its private key: an X509Certificate2, or the path of a .pfx file or of a .pem file that holds
    /// both. A listener at an nbds address needs one; a client shows it to servers that ask.
    /// </summary>
    [Parameter]
    [CertificateTransformation]
    public X509Certificate2? TlsCertificate { get; set; }

    /// <summary>
    /// Who may have signed the other side's certificate: X509Certificate2 objects, or paths of .pem files. A listener then
    /// demands certificates of its clients; a client trusts these in place of the system's authorities.
    /// </summary>
    [Parameter]
    [AuthorityTransformation]
    public X509Certificate2[]? TlsAuthority { get; set; }

    /// <summary>What a client shows and trusts; null for the system's ways.</summary>
    private protected TlsClientOptions? ClientTls =>
        TlsCertificate is null && TlsAuthority is null ? null : new TlsClientOptions(TlsCertificate, TlsAuthority);

    /// <summary>The certificates as a request names them, for a client and for a listener; null for none.</summary>
    private protected TlsFiles? RequestedTls =>
        TlsCertificate is null && TlsAuthority is null ? null : CertificateFiles.Describe(TlsCertificate, TlsAuthority);
}
