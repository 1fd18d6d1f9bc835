// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fleece.Block;
using Fleece.Nbd.Tls;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Tls;

public sealed class TlsCertificatesTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly TestAuthority _authority = new();
    private readonly X509Certificate2 _issued;

    public TlsCertificatesTests() => _issued = _authority.IssueServer("store");

    public void Dispose()
    {
        _issued.Dispose();
        _authority.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void A_pem_file_with_certificate_and_key_is_loaded()
    {
        string path = Write("both.pem", _issued.ExportCertificatePem() + "\n" + TestAuthority.KeyPem(_issued));

        CheckLoaded(TlsCertificates.LoadWithKey(path));
    }

    [Fact]
    public void A_pem_file_with_its_key_in_another_is_loaded()
    {
        string path = Write("certificate.pem", _issued.ExportCertificatePem());

        CheckLoaded(TlsCertificates.LoadWithKey(path, Write("key.pem", TestAuthority.KeyPem(_issued))));
    }

    [Fact]
    public void An_encrypted_pem_key_is_loaded_with_its_password()
    {
        using ECDsa key = _issued.GetECDsaPrivateKey()!;
        PbeParameters parameters = new(PbeEncryptionAlgorithm.Aes256Cbc, HashAlgorithmName.SHA256, 1000);
        string secret = key.ExportEncryptedPkcs8PrivateKeyPem("pass", parameters);
        string path = Write("secret.pem", _issued.ExportCertificatePem() + "\n" + secret);

        CheckLoaded(TlsCertificates.LoadWithKey(path, password: "pass"));
        CheckFails(NbdErrors.TlsFailed, () => TlsCertificates.LoadWithKey(path, password: "wrong"), path);
    }

    [Theory]
    [InlineData("store.pfx")]
    [InlineData("store.P12")]
    public void A_pfx_file_is_loaded_with_its_password(string name)
    {
        string path = _folder.File(name);
        File.WriteAllBytes(path, _issued.Export(X509ContentType.Pkcs12, "pass"));

        CheckLoaded(TlsCertificates.LoadWithKey(path, password: "pass"));
        CheckFails(NbdErrors.TlsFailed, () => TlsCertificates.LoadWithKey(path, password: "wrong"), path);
    }

    [Fact]
    public void A_certificate_without_its_key_is_refused()
    {
        string pem = Write("certificate.pem", _issued.ExportCertificatePem());
        string pfx = _folder.File("certificate.pfx");
        using X509Certificate2 bare = X509CertificateLoader.LoadCertificate(_issued.RawData);
        File.WriteAllBytes(pfx, bare.Export(X509ContentType.Pkcs12));

        CheckFails(NbdErrors.TlsFailed, () => TlsCertificates.LoadWithKey(pem), pem);
        CheckFails(NbdErrors.TlsFailed, () => TlsCertificates.LoadWithKey(pfx), pfx);
    }

    [Fact]
    public void A_key_of_another_certificate_is_refused()
    {
        using X509Certificate2 other = _authority.IssueServer("other");
        string path = Write("certificate.pem", _issued.ExportCertificatePem());
        string keyPath = Write("key.pem", TestAuthority.KeyPem(other));

        CheckFails(NbdErrors.TlsFailed, () => TlsCertificates.LoadWithKey(path, keyPath), path);
    }

    [Fact]
    public void A_bundle_of_authorities_is_loaded()
    {
        using TestAuthority other = new("Another authority");
        string path = Write("ca.pem", _authority.Certificate.ExportCertificatePem() + "\n" + other.Certificate.ExportCertificatePem());

        IReadOnlyList<X509Certificate2> authorities = TlsCertificates.LoadAuthorities(path);

        Assert.Equal(
            [_authority.Certificate.Thumbprint, other.Certificate.Thumbprint], authorities.Select(authority => authority.Thumbprint));
        foreach (X509Certificate2 authority in authorities)
        {
            authority.Dispose();
        }
    }

    [Fact]
    public void A_file_without_authorities_is_refused()
    {
        string path = Write("ca.pem", "nothing of the kind");

        CheckFails(NbdErrors.TlsFailed, () => TlsCertificates.LoadAuthorities(path), path);
    }

    [Fact]
    public void A_file_that_is_missing_is_named()
    {
        string path = Write("certificate.pem", _issued.ExportCertificatePem());
        string missing = _folder.File("missing.pem");

        CheckFails(BlockErrors.NotFound, () => TlsCertificates.LoadWithKey(missing), missing);
        CheckFails(BlockErrors.NotFound, () => TlsCertificates.LoadWithKey(path, missing), missing);
        CheckFails(BlockErrors.NotFound, () => TlsCertificates.LoadAuthorities(missing), missing);
    }

    [Theory]
    [InlineData("endless.pem")]
    [InlineData("endless.pfx")]
    public void A_link_to_a_device_is_refused(string name)
    {
        Assert.SkipUnless(File.Exists("/dev/zero"), "there is no /dev/zero here");
        string path = _folder.File(name);
        File.CreateSymbolicLink(path, "/dev/zero");

        CheckFails(NbdErrors.TlsFailed, () => TlsCertificates.LoadWithKey(path), path);
        CheckFails(NbdErrors.TlsFailed, () => TlsCertificates.LoadAuthorities(path), path);
        CheckFails(
            NbdErrors.TlsFailed, () => TlsCertificates.LoadWithKey(Write("certificate.pem", _issued.ExportCertificatePem()), path), "pem");
    }

    [Fact]
    public async Task A_pipe_that_has_no_writer_is_refused_and_not_waited_for()
    {
        Peer.Need("mkfifo");
        string path = _folder.File("pipe.pem");
        await Peer.RunAsync("mkfifo", path);

        CheckFails(NbdErrors.TlsFailed, () => TlsCertificates.LoadWithKey(path), path);
        CheckFails(NbdErrors.TlsFailed, () => TlsCertificates.LoadAuthorities(path), path);
    }

    [Theory]
    [InlineData("long.pem")]
    [InlineData("long.pfx")]
    public void A_file_that_is_longer_than_certificates_are_is_refused(string name)
    {
        string path = _folder.File(name);
        using (FileStream file = File.Create(path))
        {
            file.SetLength(1900L * 1024 * 1024);
        }

        CheckFails(NbdErrors.TlsFailed, () => TlsCertificates.LoadWithKey(path), path);
        CheckFails(NbdErrors.TlsFailed, () => TlsCertificates.LoadAuthorities(path), path);
    }

    [Fact]
    public void A_file_of_just_the_longest_length_is_read()
    {
        string text = _authority.Certificate.ExportCertificatePem();
        string path = Write("ca.pem", text + new string('\n', CertificateFile.MaximumBytes - text.Length));

        Assert.Single(TlsCertificates.LoadAuthorities(path)).Dispose();
    }

    private static void CheckFails(string kind, Func<object> load, string path)
    {
        BlockException exception = Assert.Throws<BlockException>(load);
        Assert.Equal(kind, exception.Kind);
        Assert.Contains(path, exception.Message, StringComparison.Ordinal);
    }

    private void CheckLoaded(X509Certificate2 loaded)
    {
        using X509Certificate2 owned = loaded;
        Assert.True(loaded.HasPrivateKey);
        Assert.Equal(_issued.Thumbprint, loaded.Thumbprint);
    }

    private string Write(string name, string text)
    {
        string path = _folder.File(name);
        File.WriteAllText(path, text);
        return path;
    }
}
