// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks.Records;
using Fleece.Hosting;

namespace Fleece;

/// <summary>Dismount-FleeceDisk: flushes and closes disks.</summary>
[Cmdlet(VerbsData.Dismount, "FleeceDisk", SupportsShouldProcess = true)]
[OutputType(typeof(DiskInfo))]
public sealed class DismountFleeceDiskCommand : SilentCommand
{
    /// <summary>The disks' names, or the disks.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    [Alias("Disk")]
    public DiskReference[] Name { get; set; } = [];

    /// <summary>Stop the disk's sessions, losing their points in time, and take it away from guests that are connected.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (DiskReference reference in Name)
        {
            ForItem(reference.Name, () =>
            {
                // Not looked for first: a host also lets go of a disk that it can't serve, which no other cmdlet finds.
                if (ShouldProcess(reference.Name, "Dismount"))
                {
                    DiskInfo before = Wait(Owner.Disks.DismountAsync(reference, Force, StopToken));
                    Pass(() => before);
                }
            });
        }
    }
}
