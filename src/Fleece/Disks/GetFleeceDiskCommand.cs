// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Disks;

namespace Fleece;

/// <summary>Get-FleeceDisk: the mounted disks.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceDisk")]
[OutputType(typeof(Disk))]
public sealed class GetFleeceDiskCommand : FleeceCommand
{
    /// <summary>Names, wildcards allowed; all disks when left out.</summary>
    [Parameter(Position = 0, ValueFromPipeline = true)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    public string[] Name { get; set; } = ["*"];

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (string name in Name)
        {
            ForItem(name, () => WriteMatching(name));
        }
    }

    private void WriteMatching(string name)
    {
        if (!WildcardPattern.ContainsWildcardCharacters(name))
        {
            WriteObject(Disks.Find(name));
            return;
        }

        WildcardPattern pattern = NamePattern.Parse(name);
        WriteObject(Disks.All.Where(disk => pattern.IsMatch(disk.Name)), enumerateCollection: true);
    }
}
