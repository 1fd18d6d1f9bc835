// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Exports;

namespace Fleece;

/// <summary>Get-FleeceExport: what is offered over NBD, and who is connected.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceExport")]
[OutputType(typeof(DiskExport))]
public sealed class GetFleeceExportCommand : FleeceCommand
{
    /// <summary>The disks' names, or the disks; all when left out.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    public string[]? Disk { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        if (Disk is null)
        {
            WriteObject(Disks.Exports.All, enumerateCollection: true);
            return;
        }

        foreach (string name in Disk)
        {
            ForItem(name, () => WriteObject(Disks.Exports.Of(Disks.Find(name)), enumerateCollection: true));
        }
    }
}
