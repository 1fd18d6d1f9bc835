// SPDX-License-Identifier: MIT
using Fleece.Hosting.Control;
using Fleece.Hosting.State;
using Fleece.Images;

namespace Fleece.Hosting.Tests.State;

/// <summary>Disks for states.</summary>
internal static class StateSamples
{
    /// <summary>When the sample's state was written.</summary>
    public static readonly DateTimeOffset WrittenAt = new(2026, 11, 30, 2, 0, 0, TimeSpan.Zero);

    /// <summary>A disk with no more than it needs.</summary>
    public static MountedDiskState Plain(string name, long? number = null) => new()
    {
        Mount = new MountRequest { Name = name, Address = $"/vm/{name}.qcow2", MetadataCacheBytes = number },
    };

    /// <summary>A disk with a value in every field.</summary>
    public static MountedDiskState Full(string name) => new()
    {
        Mount = new MountRequest
        {
            Name = name,
            Address = $"nbds://backup.example/{name}",
            Format = ImageFormat.Raw,
            IsReadOnly = true,
            IsShared = true,
            SnapshotName = "before the update",
            MetadataCacheBytes = 64L << 20,
            AllowsOutsideDataFile = true,
            IsUntrusted = true,
            Tls = new TlsFiles { CertificatePath = "/etc/fleece/client.pfx", AuthorityPaths = ["/etc/fleece/ca.pem"] },
            Listeners =
            [
                new ListenRequest
                {
                    ListenUri = "nbd+unix:///?socket=/run/fleece/ünï code.sock",
                    ExportName = "name",
                    IsReadOnly = true,
                    IsSnapshotOnly = true,
                    AllowsInsecure = true,
                    Tls = new TlsFiles { CertificatePath = "/etc/fleece/server.pfx", AuthorityPaths = [] },
                    SocketMode = (UnixFileMode)0x1B0,
                    SocketGroup = "kvm",
                },
            ],
        },
        Image = new ImageTrace(ulong.MaxValue, 1L << 40, WrittenAt.AddTicks(1234567), IsClosed: true),
        ServedInBoot = new Guid("0f8fad5b-d9cb-469f-a165-70867728950e"),
        UnjournaledInBoot = new Guid("0f8fad5b-d9cb-469f-a165-70867728950e"),
    };

    /// <summary>A state with one disk of each.</summary>
    public static StateDocument Document() => new(
        "0.1.0", WrittenAt, 7, [Full("archive"), Plain("web")], ["/run/vm/qmp.sock"]);
}
