// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks;
using Fleece.Disks.Exports;
using Fleece.Nbd.Tls;

namespace Fleece;

/// <summary>What the cmdlets share that publish disks.</summary>
public abstract class ListeningCommand : NetworkCommand
{
    /// <summary>Listen beyond this machine without TLS.</summary>
    [Parameter]
    public SwitchParameter AllowInsecure { get; set; }

    /// <summary>The name of the export; by default the one in the URI, or the disk's.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string? ExportName { get; set; }

    /// <summary>Publishes a disk at one address.</summary>
    private protected DiskExport Publish(Disk disk, string listenUri, TlsServerOptions? tls, bool isReadOnly, bool isSnapshotOnly) =>
        Wait(Disks.Exports.PublishAsync(
            disk,
            new ExportOptions
            {
                ListenUri = ResolveUri(listenUri),
                Name = ExportName,
                IsReadOnly = isReadOnly,
                IsSnapshotOnly = isSnapshotOnly,
                Tls = tls,
                AllowInsecure = AllowInsecure,
            },
            StopToken));
}
