// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting;
using Fleece.Disks.Exports;
using Fleece.Disks.Records;

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
            Write(Disks.Exports.All);
            return;
        }

        foreach (DiskReference disk in Disk)
        {
            ForItem(disk.Name, () => Write(Disks.FindFitting(disk).SelectMany(Disks.Exports.Of)));
        }
    }

    private void Write(IEnumerable<DiskExport> exports) =>
        WriteObject(exports.Select(export => new ExportInfo(export)), enumerateCollection: true);
}
