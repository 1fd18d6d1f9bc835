// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Hosting;
using Fleece.Hosting.Control;

namespace Fleece;

/// <summary>Read-FleeceDisk: the guest's reads from a script.</summary>
[Cmdlet(VerbsCommunications.Read, "FleeceDisk")]
[OutputType(typeof(byte[]))]
public sealed class ReadFleeceDiskCommand : FleeceCommand
{
    /// <summary>The disk's name, or the disk.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(DiskNameCompleter))]
    [DiskArgument]
    [ValidateNotNull]
    public DiskReference? Disk { get; set; }

    /// <summary>First byte.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    [ValidateRange(0, long.MaxValue)]
    public long OffsetBytes { get; set; }

    /// <summary>Number of bytes.</summary>
    [Parameter(Mandatory = true, Position = 2)]
    [ValidateRange(0, long.MaxValue)]
    public long LengthBytes { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Disk!.Name, () =>
    {
        OpenedDisk disk = Wait(Owner.OpenDiskAsync(Disk with { IsToWrite = false }, StopToken));
        try
        {
            WriteObject(Read(disk), enumerateCollection: false);
        }
        finally
        {
            Wait(disk.DisposeAsync());
        }
    });

    private byte[] Read(OpenedDisk disk)
    {
        new BlockRange(OffsetBytes, LengthBytes).CheckWithin(disk.Device.Geometry.LengthBytes, disk.Name, "read");
        if (LengthBytes > Array.MaxLength)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument, $"One read returns at most {Array.MaxLength} bytes; read in pieces.");
        }

        byte[] data = GC.AllocateUninitializedArray<byte>((int)LengthBytes);
        Wait(disk.Device.ReadAsync(OffsetBytes, data, StopToken));
        return data;
    }
}
