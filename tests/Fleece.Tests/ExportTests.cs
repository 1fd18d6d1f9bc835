// SPDX-License-Identifier: MIT
using System.Management.Automation;
using System.Net.Sockets;
using Fleece.Disks.Records;

namespace Fleece.Tests;

/// <summary>Disks and snapshots over NBD, as a script sees them: publishing, reading from afar, backing up to afar.</summary>
public sealed class ExportTests
{
    private const string Vm =
        """
        $null = New-FleeceImage ./vm.raw 4MB
        $vm = Mount-FleeceDisk ./vm.raw -ListenUri 'nbd+unix:///?socket=./s'
        Write-FleeceDisk vm 0 ([byte[]](7) * 1MB)

        """;

    [Fact]
    public void A_disk_is_mounted_and_served_in_one_go()
    {
        using ModuleRunspace shell = new();
        ExportInfo export = shell.Run<ExportInfo>(Vm + "Get-FleeceExport");

        Assert.Equal($"nbd+unix:///vm?socket={shell.File("s")}", Uri.UnescapeDataString(export.ToString()));
    }

    [Fact]
    public void Snapshots_come_and_go_with_their_sessions()
    {
        using ModuleRunspace shell = new();

        object[] names = shell.Run(Vm +
            """
            (Get-FleeceExport).Uris.ExportName
            $null = Start-FleeceSession vm -Name nightly
            (Get-FleeceExport).Uris.ExportName
            Stop-FleeceSession nightly
            (Get-FleeceExport).Uris.ExportName
            """);

        Assert.Equal(["vm", "vm", "vm/nightly", "vm"], names);
    }

    [Fact]
    public void A_snapshot_is_backed_up_from_afar_and_consumed_there()
    {
        using ModuleRunspace shell = new();

        long consumedBytes = shell.Run<long>(Vm +
            """
            $null = Start-FleeceSession vm -Name nightly
            Write-FleeceDisk vm 0 ([byte[]](9) * 1MB)
            $null = Read-FleeceSnapshot -Uri 'nbd+unix:///vm/nightly?socket=./s' -DiscardConsumed | Export-Backup ./b.raw
            (Get-FleeceSession).ConsumedBytes
            """);

        byte[] backup = File.ReadAllBytes(shell.File("b.raw"));
        Assert.Equal(4 << 20, consumedBytes);
        Assert.All(backup.Take(1 << 20), value => Assert.Equal((byte)7, value));
        Assert.All(backup.Skip(1 << 20), value => Assert.Equal((byte)0, value));
    }

    [Fact]
    public void What_is_denied_is_left_out_of_a_read_from_afar()
    {
        using ModuleRunspace shell = new();

        object[] offsets = shell.Run(Vm +
            """
            $null = Start-FleeceSession vm -Name nightly -Range @{ OffsetBytes = 64KB; LengthBytes = 64KB }, @{ OffsetBytes = 512KB; LengthBytes = 4KB }
            foreach ($chunk in Read-FleeceSnapshot -Uri 'nbd+unix:///vm/nightly?socket=./s') { $chunk.OffsetBytes; $chunk.LengthBytes }
            """);

        Assert.Equal([65536L, 65536L, 524288L, 4096L], offsets);
    }

    [Fact]
    public void A_backup_goes_to_an_export_zeros_too()
    {
        using ModuleRunspace shell = new();
        File.WriteAllBytes(shell.File("target.raw"), [.. Enumerable.Repeat((byte)0xAA, 4 << 20)]);

        shell.Run(Vm +
            """
            $target = Mount-FleeceDisk ./target.raw -Format Raw -ListenUri 'nbd://localhost:0'
            $null = Start-FleeceSession vm
            $null = Read-FleeceSnapshot | Export-Backup -DestinationUri "$(Get-FleeceExport target)"
            Dismount-FleeceDisk target
            """);

        byte[] backup = File.ReadAllBytes(shell.File("target.raw"));
        Assert.All(backup.Take(1 << 20), value => Assert.Equal((byte)7, value));
        Assert.All(backup.Skip(1 << 20), value => Assert.Equal((byte)0, value));
    }

    [Fact]
    public void An_export_is_a_disk_and_a_temp_image_like_any_other()
    {
        using ModuleRunspace shell = new();

        byte[] old = shell.Run<byte[]>(Vm +
            """
            $null = New-FleeceImage ./temp.raw 4MB
            $null = Mount-FleeceDisk ./temp.raw -ListenUri 'nbd+unix:///?socket=./t'
            $null = Mount-FleeceDisk 'nbd+unix:///vm?socket=./s' -Name remote -Shared
            $null = Start-FleeceSession remote -TempPath 'nbd+unix:///temp?socket=./t'
            Write-FleeceDisk remote 0 ([byte[]](9) * 64KB)
            $chunk = @(Read-FleeceSnapshot)[0]
            , $chunk.Data
            Dismount-FleeceDisk remote -Force
            Dismount-FleeceDisk vm
            """);

        Assert.All(old, value => Assert.Equal((byte)7, value));
        Assert.Equal(9, File.ReadAllBytes(shell.File("vm.raw"))[0]);
    }

    [Fact]
    public void A_session_of_a_disk_on_a_server_asks_where_old_data_goes()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Mount-FleeceDisk 'nbd+unix:///vm?socket=./s' -Name remote -Shared");

        ErrorRecord error = shell.Ends("Start-FleeceSession remote");

        Assert.Equal("ArgumentInvalid,Fleece.StartFleeceSessionCommand", error.FullyQualifiedErrorId);
        shell.Run("Dismount-FleeceDisk remote");
    }

    [Theory]
    [InlineData("Publish-FleeceExport vm 'http://localhost/'", "UriInvalid,Fleece.PublishFleeceExportCommand")]
    [InlineData("Publish-FleeceExport vm 'nbd://0.0.0.0:0'", "InsecureListener,Fleece.PublishFleeceExportCommand")]
    [InlineData("Publish-FleeceExport vm 'nbds://localhost:0'", "TlsFailed,Fleece.PublishFleeceExportCommand")]
    [InlineData("Publish-FleeceExport vm 'nbds://localhost:0' -TlsCertificate ./no.pem", "ParameterArgumentTransformationError,Fleece.PublishFleeceExportCommand")]
    [InlineData("Publish-FleeceExport vm 'nbd+unix:///?socket=./s'", "ExportNameInUse,Fleece.PublishFleeceExportCommand")]
    [InlineData("Publish-FleeceExport vm 'nbd+unix:///?socket=./vm.raw'", "AddressInUse,Fleece.PublishFleeceExportCommand")]
    [InlineData("Publish-FleeceExport vm 'nbd://203.0.113.7:0' -AllowInsecure", "UriInvalid,Fleece.PublishFleeceExportCommand")]
    [InlineData("Publish-FleeceExport nobody 'nbd://localhost:0'", "DiskNotFound,Fleece.PublishFleeceExportCommand")]
    [InlineData("Unpublish-FleeceExport nobody", "DiskNotFound,Fleece.UnpublishFleeceExportCommand")]
    [InlineData("Mount-FleeceDisk 'nbd+unix:///nobody?socket=./s'", "ExportNotFound,Fleece.MountFleeceDiskCommand")]
    [InlineData("Mount-FleeceDisk 'nbd+unix:///vm?socket=./nobody' -Name x", "ServerUnreachable,Fleece.MountFleeceDiskCommand")]
    [InlineData("Mount-FleeceDisk 'nbd+unix:///vm?socket=./s' -Name x -Format Qcow2", "ArgumentInvalid,Fleece.MountFleeceDiskCommand")]
    public void What_can_not_be_published_or_reached_is_reported(string command, string errorId)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm);

        ErrorRecord error = shell.Reports(command);

        Assert.Equal(errorId, error.FullyQualifiedErrorId);
        Assert.Single(shell.Run("Get-FleeceExport"));
        Assert.Single(shell.Run("Get-FleeceDisk"));
    }

    [Fact]
    public void A_disk_that_can_not_be_served_is_not_mounted()
    {
        using ModuleRunspace shell = new();
        shell.Run("$null = New-FleeceImage ./vm.raw 1MB");

        ErrorRecord error = shell.Reports("Mount-FleeceDisk ./vm.raw -ListenUri 'nbd://localhost:0', 'nbd://0.0.0.0:0'");

        Assert.Equal("InsecureListener,Fleece.MountFleeceDiskCommand", error.FullyQualifiedErrorId);
        Assert.Empty(shell.Run("Get-FleeceDisk; Get-FleeceExport"));
    }

    [Fact]
    public void A_guest_that_is_connected_keeps_its_disk_unless_forced()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$guest = Mount-FleeceDisk 'nbd+unix:///vm?socket=./s' -Name guest -ReadOnly");

        Assert.Equal("DiskBusy,Fleece.DismountFleeceDiskCommand", shell.Reports("Dismount-FleeceDisk vm").FullyQualifiedErrorId);
        Assert.Equal(
            "DiskBusy,Fleece.UnpublishFleeceExportCommand", shell.Reports("Unpublish-FleeceExport vm").FullyQualifiedErrorId);
        shell.Run("Unpublish-FleeceExport vm -Force");
        Assert.Empty(shell.Run("Get-FleeceExport"));
        Assert.False(File.Exists(shell.File("s")));
    }

    [Fact]
    public void Several_disks_share_an_address_and_leave_it_one_by_one()
    {
        using ModuleRunspace shell = new();

        object[] names = shell.Run(Vm +
            """
            $null = New-FleeceImage ./db.raw 1MB
            $null = Mount-FleeceDisk ./db.raw | Publish-FleeceExport -ListenUri 'nbd+unix:///?socket=./s' -SnapshotOnly -ReadOnly
            $null = Start-FleeceSession db
            (Get-FleeceExport).Uris.ExportName
            Unpublish-FleeceExport vm
            (Get-FleeceExport).Uris.ExportName
            """);

        Assert.Equal(["vm", "db/db", "db/db"], names);
    }

    [Fact]
    public void A_snapshot_that_is_published_read_only_can_not_be_consumed()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm +
            """
            $null = Publish-FleeceExport vm 'nbd+unix:///?socket=./r' -ReadOnly
            $null = Start-FleeceSession vm
            """);

        ErrorRecord error = shell.Ends("Read-FleeceSnapshot -Uri 'nbd+unix:///vm/vm?socket=./r' -DiscardConsumed");

        Assert.Equal("DiskReadOnly,Fleece.ReadFleeceSnapshotCommand", error.FullyQualifiedErrorId);
    }

    [Fact]
    public void A_read_from_afar_ends_with_the_sessions_own_reason()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm +
            """
            $null = Start-FleeceSession vm
            $reader = Mount-FleeceDisk 'nbd+unix:///vm/vm?socket=./s' -Name snapshot -ReadOnly
            Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 64KB -Force
            """);

        ErrorRecord error = shell.Ends("Read-FleeceDisk snapshot 0 4KB -ErrorAction Stop");

        Assert.Equal("SnapshotRangeDenied,Fleece.ReadFleeceDiskCommand", error.FullyQualifiedErrorId);
        Assert.Contains("was consumed", error.Exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_published_is_served_to_whoever_connects()
    {
        using ModuleRunspace shell = new();
        ExportInfo export = shell.Run<ExportInfo>(
            "$null = New-FleeceImage ./vm.raw 1MB; Mount-FleeceDisk ./vm.raw | Publish-FleeceExport -ListenUri 'nbd://localhost:0'");

        using TcpClient client = new("localhost", export.Uri.Port);
        byte[] greeting = new byte[8];
        client.GetStream().ReadExactly(greeting);

        Assert.Equal("NBDMAGIC"u8.ToArray(), greeting);
    }
}
