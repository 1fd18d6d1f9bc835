// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Fleece.Block;

namespace Fleece.Nbd.Tls;

/// <summary>Loads certificates from the files that administrators have: regular files of at most
/// <see cref="CertificateFile.MaximumBytes"/>.</summary>
internal static class TlsCertificates
{
    /// <summary>Loads a certificate and its private key.</summary>
    /// <param name="path">A .pfx or .p12 file, or a .pem file.</param>
    /// <param name="keyPath">The .pem file of the key, where that is another than <paramref name="path"/>.</param>
    /// <param name="password">What the key is encrypted with, or null.</param>
    /// <returns>A certificate that the caller disposes.</returns>
    /// <exception cref="BlockException">
    /// <see cref="BlockErrors.NotFound"/>: there is no such file. <see cref="NbdErrors.TlsFailed"/>: it can't be read, holds
    /// no certificate or no key, or the password is wrong.
    /// </exception>
    public static X509Certificate2 LoadWithKey(string path, string? keyPath = null, string? password = null)
    {
        CheckExists(path);
        CheckExists(keyPath ?? path);
        try
        {
            byte[] content = CertificateFile.Read(path);
            X509Certificate2 certificate = IsPkcs12(path)
                ? X509CertificateLoader.LoadPkcs12(content, password)
                : FromPem(content, keyPath is null ? content : CertificateFile.Read(keyPath), password);
            return WithLastingKey(certificate, path);
        }
        catch (Exception cause) when (IsLoadingFailure(cause))
        {
            throw Failed(
                $"The certificate '{path}' can't be used: {cause.Message} A .pfx file, or .pem files with a certificate and its " +
                "private key, are needed.",
                path,
                cause);
        }
    }

    /// <summary>Loads the certificates of authorities, of which a .pem file may hold any number.</summary>
    /// <returns>At least one certificate; the caller disposes them.</returns>
    /// <exception cref="BlockException">
    /// <see cref="BlockErrors.NotFound"/>: there is no such file. <see cref="NbdErrors.TlsFailed"/>: it can't be read or
    /// holds no certificate.
    /// </exception>
    public static IReadOnlyList<X509Certificate2> LoadAuthorities(string path)
    {
        CheckExists(path);
        X509Certificate2Collection authorities = [];
        try
        {
            authorities.ImportFromPem(Encoding.UTF8.GetString(CertificateFile.Read(path)));
        }
        catch (Exception cause) when (IsLoadingFailure(cause))
        {
            throw Failed($"The authorities in '{path}' can't be read: {cause.Message}", path, cause);
        }

        return authorities.Count != 0
            ? [.. authorities]
            : throw Failed($"The file '{path}' holds no certificate in PEM form (-----BEGIN CERTIFICATE-----).", path, null);
    }

    private static X509Certificate2 FromPem(byte[] certificate, byte[] key, string? password) => password is null
        ? X509Certificate2.CreateFromPem(Encoding.UTF8.GetString(certificate), Encoding.UTF8.GetString(key))
        : X509Certificate2.CreateFromEncryptedPem(Encoding.UTF8.GetString(certificate), Encoding.UTF8.GetString(key), password);

    private static bool IsPkcs12(string path) =>
        Path.GetExtension(path) is string extension &&
        (extension.Equals(".pfx", StringComparison.OrdinalIgnoreCase) || extension.Equals(".p12", StringComparison.OrdinalIgnoreCase));

    private static X509Certificate2 WithLastingKey(X509Certificate2 certificate, string path)
    {
        if (!certificate.HasPrivateKey)
        {
            certificate.Dispose();
            throw Failed($"The certificate '{path}' comes without its private key, which is needed.", path, null);
        }

        if (!OperatingSystem.IsWindows())
        {
            return certificate;
        }

        // Windows' TLS takes no key that lives in this process alone, as one from a .pem file does.
        using (certificate)
        {
            return X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null);
        }
    }

    private static bool IsLoadingFailure(Exception cause) =>
        cause is CryptographicException or IOException or UnauthorizedAccessException or ArgumentException;

    private static void CheckExists(string path)
    {
        if (!File.Exists(path))
        {
            throw new BlockException(
                BlockErrors.NotFound, $"There is no certificate file '{path}'.", path, operation: "load a certificate");
        }
    }

    private static BlockException Failed(string message, string path, Exception? cause) =>
        new(NbdErrors.TlsFailed, message, path, operation: "load a certificate", cause: cause);
}
