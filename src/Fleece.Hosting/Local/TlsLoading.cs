// SPDX-License-Identifier: MIT
using System.Security.Cryptography.X509Certificates;
using Fleece.Block;
using Fleece.Hosting.Control;
using Fleece.Nbd.Tls;

namespace Fleece.Hosting.Local;

/// <summary>Makes TLS options of the certificates that a request names.</summary>
internal static class TlsLoading
{
    /// <summary>What a client shows and trusts; null for the system's ways.</summary>
    /// <exception cref="BlockException">Why a file can't be read.</exception>
    public static TlsClientOptions? Client(TlsFiles? files) =>
        files is null ? null : new TlsClientOptions(CertificateOf(files), AuthoritiesOf(files));

    /// <summary>What a listener shows and demands; null without a certificate.</summary>
    /// <exception cref="BlockException">Why a file can't be read; <see cref="BlockErrors.InvalidArgument"/>: authorities without a
    /// certificate, which would demand nothing of anybody.</exception>
    public static TlsServerOptions? Server(TlsFiles? files) =>
        files is null ? null :
        CertificateOf(files) is { } certificate ? new TlsServerOptions(certificate, AuthoritiesOf(files)) :
        throw new BlockException(
            BlockErrors.InvalidArgument, "A listener checks clients with -TlsAuthority only where it has a -TlsCertificate itself.");

    private static X509Certificate2? CertificateOf(TlsFiles files) =>
        files.Certificate ?? (files.CertificatePath is { } path ? TlsCertificates.LoadWithKey(path) : null);

    private static IReadOnlyList<X509Certificate2>? AuthoritiesOf(TlsFiles files) =>
        files.Authorities ?? (files.AuthorityPaths is { } paths ? [.. paths.SelectMany(TlsCertificates.LoadAuthorities)] : null);
}
