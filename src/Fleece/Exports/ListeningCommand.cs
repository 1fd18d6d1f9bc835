// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Exports;
using Fleece.Disks.Names;
using Fleece.Hosting.Control;
using Fleece.Nbd;

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

    /// <summary>What these parameters say of one address.</summary>
    private protected ListenRequest ListenAt(string listenUri, TlsFiles? tls) => new()
    {
        ListenUri = AddressOf(listenUri).ToString(),
        ExportName = ExportName,
        Tls = tls,
        AllowsInsecure = AllowInsecure,
        SocketMode = SocketMode,
        SocketGroup = SocketGroup,
    };

    private NbdUri AddressOf(string listenUri)
    {
        NbdUri uri = ResolveUri(listenUri);
        if (ExportName is not null)
        {
            // Here, because JSON can't hold each name that a URI can't hold.
            ExportNames.Check(ExportName);
            PublishedExports.CheckName(uri.WithExport(ExportName));
        }

        return uri;
    }
}
