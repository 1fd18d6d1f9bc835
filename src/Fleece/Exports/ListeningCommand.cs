// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks;
using Fleece.Disks.Exports;
using Fleece.Nbd.Tls;

namespace Fleece;

/// <summary>What the cmdlets share that publish disks.</summary>
public abstract class ListeningCommand : NetworkCommand
{
    /// <summary>Listen beyond this machine, or for all its users, without TLS.</summary>
    [Parameter]
    public SwitchParameter AllowInsecure { get; set; }

    /// <summary>The name of the export; by default the one in the URI, or the disk's.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string? ExportName { get; set; }

    /// <summary>The permissions of a unix socket's file, as chmod takes them; 0600 when left out, or 0660 with -SocketGroup.</summary>
    [Parameter]
    [FileModeTransformation]
    public UnixFileMode? SocketMode { get; set; }

    /// <summary>The group of a unix socket's file, by name or number.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string? SocketGroup { get; set; }

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
                SocketMode = SocketMode,
                SocketGroup = SocketGroup,
            },
            StopToken));
}
