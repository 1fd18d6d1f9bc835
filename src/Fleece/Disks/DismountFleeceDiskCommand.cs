// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting;
using Fleece.Disks.Records;

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
                DiskInfo before = new(Disks.Find(reference));
                string name = before.Name;
                if (ShouldProcess(name, "Dismount"))
                {
                    Wait(Disks.DismountAsync(name, Force));
                    Pass(() => before);
                }
            });
        }
    }
}
