// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using System.Security.Cryptography.X509Certificates;

namespace Fleece.Hosting.Control;

/// <summary>Knows the files that certificates of this process were loaded from, because a host gets paths and no keys.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal static class CertificateFiles
{
    private static readonly ConditionalWeakTable<X509Certificate2, string> Paths = [];

    /// <summary>Notes where a certificate came from.</summary>
    /// <param name="certificate">The certificate.</param>
    /// <param name="path">The file's absolute path.</param>
    public static X509Certificate2 Remember(X509Certificate2 certificate, string path)
    {
        Paths.AddOrUpdate(certificate, path);
        return certificate;
    }

    /// <summary>The certificates with the paths of their files, as far as they are known.</summary>
    public static TlsFiles Describe(X509Certificate2? certificate, IReadOnlyList<X509Certificate2>? authorities)
    {
        string?[]? paths = authorities?.Select(PathOf).Distinct().ToArray();
        return new TlsFiles
        {
            Certificate = certificate,
            CertificatePath = PathOf(certificate),
            Authorities = authorities,
            AuthorityPaths = paths is null || paths.Contains(null) ? null : [.. paths.OfType<string>()],
        };
    }

    private static string? PathOf(X509Certificate2? certificate) =>
        certificate is not null && Paths.TryGetValue(certificate, out string? path) ? path : null;
}
