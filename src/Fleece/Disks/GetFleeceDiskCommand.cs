// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Records;
using Fleece.Hosting;

namespace Fleece;

/// <summary>Get-FleeceDisk: the mounted disks.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceDisk")]
[OutputType(typeof(DiskInfo))]
public sealed class GetFleeceDiskCommand : FleeceCommand
{
    /// <summary>Names, wildcards allowed, or the disks; all disks when left out.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    public DiskReference[] Name { get; set; } = [new("*")];

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (DiskReference disk in Name)
        {
            ForItem(disk.Name, () => WriteObject(FindDisks(disk), enumerateCollection: true));
        }
    }
}
