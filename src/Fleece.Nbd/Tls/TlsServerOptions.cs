// SPDX-License-Identifier: MIT
using System.Security.Cryptography.X509Certificates;

namespace Fleece.Nbd.Tls;

/// <summary>stub until client merges</summary>
public sealed record TlsServerOptions
{
    /// <summary>x</summary>
    public required X509Certificate2 Certificate { get; init; }
}
