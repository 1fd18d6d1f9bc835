// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Qemu;
using Fleece.Qemu.Records;

namespace Fleece;

/// <summary>Get-FleeceQemuDisk: the disks of a guest that QEMU runs.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceQemuDisk")]
[OutputType(typeof(QemuDiskInfo))]
public sealed class GetFleeceQemuDiskCommand : FleeceCommand
{
    /// <summary>The QMP socket of the guest's QEMU.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipelineByPropertyName = true)]
    [ValidateNotNullOrEmpty]
    public string QmpSocketPath { get; set; } = string.Empty;

    /// <summary>Names of devices, wildcards allowed; all of the guest's disks when left out.</summary>
    [Parameter(Position = 1)]
    [SupportsWildcards]
    [ArgumentCompleter(typeof(DeviceNameCompleter))]
    [ValidateNotNullOrEmpty]
    public string[] Device { get; set; } = ["*"];

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(QmpSocketPath, () =>
    {
        string socketPath = ResolveLiteral(QmpSocketPath);
        IReadOnlyList<QemuDiskInfo> disks = Wait(Owner.Guests.ListGuestDisksAsync(socketPath, StopToken));
        foreach (string device in Device)
        {
            ForItem(device, () => Write(disks, device, socketPath));
        }
    });

    private void Write(IReadOnlyList<QemuDiskInfo> disks, string device, string socketPath)
    {
        WildcardPattern pattern = NamePattern.Parse(device);
        QemuDiskInfo[] named =
            [.. disks.Where(disk => pattern.IsMatch(disk.Device) || pattern.IsMatch(disk.Name) || disk.NodeName == device)];
        if (named.Length == 0 && !WildcardPattern.ContainsWildcardCharacters(device))
        {
            throw new BlockException(
                QemuErrors.DeviceUnknown,
                $"The guest of '{socketPath}' has no disk '{device}'. It has " +
                $"{(disks.Count == 0 ? "none" : string.Join(", ", disks.Select(disk => $"'{disk.Device}'")))}.",
                socketPath);
        }

        WriteObject(named, enumerateCollection: true);
    }
}
