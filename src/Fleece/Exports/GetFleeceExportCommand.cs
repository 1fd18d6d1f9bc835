// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Records;
using Fleece.Hosting;

namespace Fleece;

/// <summary>Get-FleeceExport: what is offered over NBD, and who is connected.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceExport")]
[OutputType(typeof(ExportInfo))]
public sealed class GetFleeceExportCommand : FleeceCommand
{
    /// <summary>The disks' names, wildcards allowed, or the disks; all when left out.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    public DiskReference[]? Disk { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        if (Disk is null)
        {
            ForItem(null, () => WriteObject(Wait(Owner.Exports.ListExportsAsync(StopToken)), enumerateCollection: true));
            return;
        }

        foreach (DiskReference disk in Disk)
        {
            ForItem(disk.Name, () =>
            {
                HashSet<Guid> mounts = [.. FindDisks(disk).Select(found => found.MountId)];
                IReadOnlyList<ExportInfo> exports = Wait(Owner.Exports.ListExportsAsync(StopToken));
                WriteObject(exports.Where(export => mounts.Contains(export.MountId)), enumerateCollection: true);
            });
        }
    }
}
