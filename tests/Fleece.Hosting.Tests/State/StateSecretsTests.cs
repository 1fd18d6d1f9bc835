// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fleece.Block;
using Fleece.Hosting.Control;
using Fleece.Hosting.State;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.State;

/// <summary>A state holds paths of keys and certificates, and nothing that is to stay secret.</summary>
public sealed class StateSecretsTests : IDisposable
{
    private readonly TempFolder _folder = new();

    [Theory]
    [InlineData("nbds://user:hunter2@backup.example/web")]
    [InlineData("nbd://hunter2@backup.example")]
    [InlineData("NBD://us%40er:hunter2@h?socket=/x")]
    [InlineData("https://user:hunter2@backup.example/web")]
    public void An_address_with_a_user_or_a_password_is_refused_and_not_repeated(string uri)
    {
        Refuse(Disk(mount => mount with { Address = uri }), "hunter2");
        Refuse(Disk(mount => mount with { Listeners = [new ListenRequest { ListenUri = uri }] }), "hunter2");
    }

    [Fact]
    public void An_at_sign_behind_the_authority_is_no_user() =>
        Accept(Disk(mount => mount with { Address = "nbd+unix:///a@b?socket=/run/x@y.sock" }));

    [Fact]
    public void A_certificate_that_came_from_no_file_is_refused()
    {
        using RSA key = RSA.Create(2048);
        CertificateRequest request = new("CN=test", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        using X509Certificate2 certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow, DateTimeOffset.UtcNow.AddDays(1));

        Refuse(Disk(mount => mount with { Tls = new TlsFiles { Certificate = certificate } }));
        Refuse(Disk(mount => mount with { Tls = new TlsFiles { Certificate = certificate, AuthorityPaths = ["/ca.pem"] } }));
        Refuse(Disk(mount => mount with { Tls = new TlsFiles { CertificatePath = "/c.pfx", Authorities = [certificate] } }));
        Refuse(Disk(mount => mount with { Tls = new TlsFiles() }));
        Accept(Disk(mount => mount with { Tls = new TlsFiles { CertificatePath = "/c.pfx", Certificate = certificate } }));
        Accept(Disk(mount => mount with { Tls = new TlsFiles { AuthorityPaths = ["/ca.pem"], Authorities = [certificate] } }));
    }

    [Fact]
    public void Relative_paths_are_refused()
    {
        Refuse(Disk(mount => mount with { Address = "web.qcow2" }));
        Refuse(Disk(mount => mount with { Tls = new TlsFiles { CertificatePath = "c.pfx" } }));
        Refuse(Disk(mount => mount with { Tls = new TlsFiles { CertificatePath = "/c.pfx", AuthorityPaths = ["/a.pem", "b.pem"] } }));
    }

    public void Dispose() => _folder.Dispose();

    private static MountedDiskState Disk(Func<MountRequest, MountRequest> change) => new()
    {
        Mount = change(StateSamples.Plain("web").Mount),
    };

    private void Refuse(MountedDiskState disk, string? secret = null)
    {
        using HostState state = HostState.Open(_folder.File("state"));
        IReadOnlyList<MountedDiskState> before = state.Disks;
        BlockException error = Assert.Throws<BlockException>(() => state.Put(StateSamples.Plain("other"), disk));

        Assert.Equal(BlockErrors.InvalidArgument, error.Kind);
        Assert.Contains("'web'", error.Message, StringComparison.Ordinal);
        Assert.True(secret is null || !error.ToString().Contains(secret, StringComparison.Ordinal));
        Assert.Equal(before, state.Disks);
    }

    private void Accept(MountedDiskState disk)
    {
        using HostState state = HostState.Open(_folder.File("state"));
        state.Put(disk);
    }
}
