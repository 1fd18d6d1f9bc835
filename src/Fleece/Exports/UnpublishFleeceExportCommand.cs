// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Records;
using Fleece.Hosting;

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
                ForItem(reference.Name, () => Unpublish(reference));
            }

            return;
        }

        foreach (DiskReference reference in Disk)
        {
            ForItem(reference.Name, () =>
            {
                Guid mountId = FindDisk(reference).MountId;
                foreach (ExportInfo export in Wait(Owner.Exports.ListExportsAsync(StopToken)).Where(export => export.MountId == mountId))
                {
                    ForItem(export.Name, () => Unpublish(new ExportReference(export.Disk, export.Name, export.ExportId)));
                }
            });
        }
    }

    private void Unpublish(ExportReference export)
    {
        if (ShouldProcess($"{export.Disk}: {export.Name}", "Unpublish"))
        {
            ExportInfo before = Wait(Owner.Exports.UnpublishAsync(export, Force, StopToken));
            Pass(() => before);
        }
    }
}
