// SPDX-License-Identifier: MIT
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Fleece.Block;

namespace Fleece.Nbd.Tls;

/// <summary>Turns a plain stream into an authenticated, encrypted one, on either side.</summary>
internal static class TlsHandshake
{
    // Older versions are broken. Source: NBD protocol, "TLS versions".
    private const SslProtocols Versions = SslProtocols.Tls12 | SslProtocols.Tls13;

    /// <summary>The server's side, on the calling thread.</summary>
    /// <returns>A stream that owns <paramref name="stream"/>; on failure the stream is disposed.</returns>
    /// <exception cref="BlockException"><see cref="NbdErrors.TlsFailed"/></exception>
    public static SslStream AuthenticateAsServer(Stream stream, TlsServerOptions options)
    {
        SslStream secure = new(stream, leaveInnerStreamOpen: false);
        try
        {
            secure.AuthenticateAsServer(new SslServerAuthenticationOptions
            {
                ServerCertificateContext = SslStreamCertificateContext.Create(options.Certificate, null, offline: true),
                EnabledSslProtocols = Versions,
                ClientCertificateRequired = options.ClientAuthorities is not null,
                CertificateChainPolicy = options.ClientAuthorities is null ? null : TrustOnly(options.ClientAuthorities),
            });
            return secure;
        }
        catch (Exception cause) when (cause is AuthenticationException or IOException)
        {
            secure.Dispose();
            throw new BlockException(
                NbdErrors.TlsFailed, $"TLS with a client failed: {Reason(cause)}", operation: "start TLS", cause: cause);
        }
    }

    /// <summary>The client's side.</summary>
    /// <returns>A stream that owns <paramref name="stream"/>; on failure the stream is disposed.</returns>
    /// <exception cref="BlockException"><see cref="NbdErrors.TlsFailed"/></exception>
    public static async ValueTask<SslStream> AuthenticateAsClientAsync(
        Stream stream, NbdUri uri, TlsClientOptions? options, CancellationToken cancellationToken)
    {
        SslStream secure = new(stream, leaveInnerStreamOpen: false);
        bool isAuthenticated = false;
        try
        {
            SslClientAuthenticationOptions authentication = new()
            {
                TargetHost = uri.TlsHostName,
                EnabledSslProtocols = Versions,
                CertificateChainPolicy = options?.Authorities is null ? null : TrustOnly(options.Authorities),
                ClientCertificateContext = options?.Certificate is null
                    ? null
                    : SslStreamCertificateContext.Create(options.Certificate, null, offline: true),
            };
            await secure.AuthenticateAsClientAsync(authentication, cancellationToken).ConfigureAwait(false);
            isAuthenticated = true;
            return secure;
        }
        catch (Exception cause) when (cause is AuthenticationException or IOException)
        {
            throw ClientFailed(uri, cause);
        }
        finally
        {
            if (!isAuthenticated)
            {
                await secure.DisposeAsync().ConfigureAwait(false);
            }
        }
    }

    /// <summary>What the client's side throws, also for a refusal that TLS 1.3 tells only after its handshake.</summary>
    public static BlockException ClientFailed(NbdUri uri, Exception cause) =>
        new(
            NbdErrors.TlsFailed,
            $"TLS with the NBD server at '{uri}' failed: {Reason(cause)} The server's certificate must name '{uri.TlsHostName}' and " +
            "come from a trusted authority, and some servers demand a certificate of the client.",
            uri.ToString(),
            operation: "start TLS",
            cause: cause);

    private static X509ChainPolicy TrustOnly(IReadOnlyList<X509Certificate2> authorities)
    {
        X509ChainPolicy policy = new()
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        };
        foreach (X509Certificate2 authority in authorities)
        {
            policy.CustomTrustStore.Add(authority);
        }

        return policy;
    }

    private static string Reason(Exception cause) =>
        cause.InnerException is null ? cause.Message : $"{cause.Message} {cause.InnerException.Message}";
}
