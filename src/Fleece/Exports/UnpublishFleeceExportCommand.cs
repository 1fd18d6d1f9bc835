// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Exports;
using Fleece.Disks.Records;

namespace Fleece;

/// <summary>Unpublish-FleeceExport: takes exports away; the disks stay mounted.</summary>
[Cmdlet(VerbsData.Unpublish, "FleeceExport", DefaultParameterSetName = DiskSet, SupportsShouldProcess = true)]
[OutputType(typeof(ExportInfo))]
public sealed class UnpublishFleeceExportCommand : SilentCommand
{
    private const string DiskSet = "Disk";
    private const string ExportSet = "InputObject";

    /// <summary>The disks' names, or the disks: all their exports.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true, ParameterSetName = DiskSet)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument(OnlyDisks = true)]
    [ValidateNotNull]
    public DiskReference[] Disk { get; set; } = [];

    /// <summary>Exports, as Publish-FleeceExport and Get-FleeceExport output them.</summary>
    [Parameter(Mandatory = true, ValueFromPipeline = true, ParameterSetName = ExportSet)]
    [ExportArgument]
    [ValidateNotNull]
    public ExportReference[] InputObject { get; set; } = [];

    /// <summary>Take the disk away from guests that are connected.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        if (ParameterSetName == ExportSet)
        {
            foreach (ExportReference reference in InputObject)
            {
                ForItem(reference.Name, () => Unpublish(Disks.Exports.Find(reference)));
            }

            return;
        }

        foreach (DiskReference reference in Disk)
        {
            ForItem(reference.Name, () =>
            {
                foreach (DiskExport export in Disks.Exports.Of(Disks.Find(reference)))
                {
                    ForItem(export.Name, () => Unpublish(export));
                }
            });
        }
    }

    private void Unpublish(DiskExport export)
    {
        int guestCount = export.GuestCount;
        if (guestCount != 0 && !Force)
        {
            throw new BlockException(
                DiskErrors.DiskBusy,
                $"{guestCount} client(s) use the disk '{export.Disk.Name}' at '{export}'. Disconnect them first, or use -Force.");
        }

        if (ShouldProcess(export.ToString(), "Unpublish"))
        {
            ExportInfo before = new(export);
            Wait(Disks.Exports.UnpublishAsync(export));
            Pass(() => before);
        }
    }
}
