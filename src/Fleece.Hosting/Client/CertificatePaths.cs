// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Client;

/// <summary>Certificates on their way to a host, which opens their files itself: keys do not go over the control socket.</summary>
internal static class CertificatePaths
{
    /// <summary>Refuses certificates of this process that have no path.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/></exception>
    public static void Check(TlsFiles? tls)
    {
        if (tls is { Certificate: not null, CertificatePath: null })
        {
            throw NeedsPath("-TlsCertificate", "a certificate");
        }

        if (tls is { Authorities: not null, AuthorityPaths: null })
        {
            throw NeedsPath("-TlsAuthority", "authorities");
        }
    }

    /// <summary>The refusal of a certificate without a path.</summary>
    public static BlockException NeedsPath(string parameter, string given) => new(
        BlockErrors.InvalidArgument,
        $"{parameter} holds {given} that this PowerShell has in memory, and the disk is the Fleece host's. Give the path of its file, " +
        "which the host can read.");
}
