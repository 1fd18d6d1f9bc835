// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>Publish-FleeceExport: offers disks and their snapshots over NBD.</summary>
[Cmdlet(VerbsData.Publish, "FleeceExport", SupportsShouldProcess = true)]
[OutputType(typeof(ExportInfo))]
public sealed class PublishFleeceExportCommand : ListeningCommand
{
    /// <summary>The disks' names, or the disks.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    public DiskReference[] Disk { get; set; } = [];

    /// <summary>Where to listen: nbd://HOST:PORT or nbd+unix:///?socket=PATH, with nbds for TLS.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    public string ListenUri { get; set; } = string.Empty;

    /// <summary>Refuse writes, and the discarding of snapshots.</summary>
    [Parameter]
    public SwitchParameter ReadOnly { get; set; }

    /// <summary>Offer the disk's snapshots and not the disk.</summary>
    [Parameter]
    public SwitchParameter SnapshotOnly { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (DiskReference reference in Disk)
        {
            ForItem(reference.Name, () =>
            {
                DiskInfo disk = FindDisk(reference);
                if (ShouldProcess(disk.Name, $"Publish at {ListenUri}"))
                {
                    ListenRequest request = ListenAt(ListenUri, RequestedTls) with
                    {
                        IsReadOnly = ReadOnly,
                        IsSnapshotOnly = SnapshotOnly,
                    };
                    WriteObject(Wait(Owner.Exports.PublishAsync(Same(disk), request, StopToken)));
                }
            });
        }
    }
}
