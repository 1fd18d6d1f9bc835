// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks;

namespace Fleece;

/// <summary>Dismount-FleeceDisk: flushes and closes disks.</summary>
[Cmdlet(VerbsData.Dismount, "FleeceDisk", SupportsShouldProcess = true)]
[OutputType(typeof(Disk))]
public sealed class DismountFleeceDiskCommand : SilentCommand
{
    /// <summary>The disks' names, or the disks.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [Alias("Disk")]
    public string[] Name { get; set; } = [];

    /// <summary>Stop the disk's sessions, losing their points in time, and take it away from guests that are connected.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (string name in Name)
        {
            ForItem(name, () =>
            {
                Disk disk = Disks.Find(name);
                if (ShouldProcess(name, "Dismount"))
                {
                    Wait(Disks.DismountAsync(name, Force));
                    Pass(disk);
                }
            });
        }
    }
}
