// SPDX-License-Identifier: MIT
using System.Management.Automation;

namespace Fleece.Tests;

/// <summary>Restore-FleeceBackup -DestinationUri, to exports of Fleece's own server.</summary>
public sealed class RestoreToExportTests
{
    private const string Prepared =
        """
        $null = New-FleeceImage ./vm.raw 4MB
        $null = Mount-FleeceDisk ./vm.raw
        Write-FleeceDisk vm 1MB ([byte[]](7) * 1MB)
        $null = Start-FleeceSession vm
        $null = Read-FleeceSnapshot vm | Export-Backup ./b.qcow2
        $null = Backup-FleeceDisk vm ./backups
        Stop-FleeceSession vm
        $null = New-FleeceImage ./target.qcow2 6MB
        $null = Mount-FleeceDisk ./target.qcow2 -ListenUri "nbd+unix:///?socket=$folder/s"
        Write-FleeceDisk target 0 ([byte[]](9) * 6MB)
        $uri = 'nbd+unix:///target?socket=' + "$folder/s"

        """;

    [Theory]
    [InlineData("./b.qcow2")]
    [InlineData("./backups")]
    public void The_export_becomes_the_disk_whatever_it_held(string backup)
    {
        using ModuleRunspace shell = new();

        object[] told = shell.Run(Prepared +
            $$"""
            Restore-FleeceBackup {{backup}} -DestinationUri $uri -Force
            $same = [Linq.Enumerable]::SequenceEqual([byte[]](Read-FleeceDisk vm 0 4MB), [byte[]](Read-FleeceDisk target 0 4MB))
            $behind = (Read-FleeceDisk target 4MB 1)[0]
            $same, $behind
            """);

        Assert.Equal([true, (byte)9], told);
    }

    [Fact]
    public void A_range_becomes_the_exports_beginning()
    {
        using ModuleRunspace shell = new();

        object[] told = shell.Run(Prepared +
            """
            Get-FleeceBackup ./b.qcow2 | Restore-FleeceBackup -DestinationUri $uri -Force -OffsetBytes 1.5MB -LengthBytes 1MB
            (Read-FleeceDisk target 0 1)[0], (Read-FleeceDisk target 512KB 1)[0], (Read-FleeceDisk target 1MB 1)[0]
            """);

        Assert.Equal([(byte)7, (byte)0, (byte)9], told);
    }

    [Theory]
    [InlineData("Restore-FleeceBackup ./b.qcow2 -DestinationUri 'nbd+unix:///nobody?socket=./s' -Force", "ExportNotFound")]
    [InlineData("Restore-FleeceBackup ./b.qcow2 -DestinationUri ./target.raw", "UriInvalid")]
    [InlineData("$null = Publish-FleeceExport vm $uri -ExportName small -ReadOnly; Restore-FleeceBackup ./b.qcow2 -DestinationUri 'nbd+unix:///small?socket=./s' -Force", "DiskReadOnly")]
    public void What_can_not_be_is_reported_and_writes_nothing(string script, string id)
    {
        using ModuleRunspace shell = new();

        ErrorRecord error = shell.Reports(Prepared + script);

        Assert.Equal($"{id},Fleece.RestoreFleeceBackupCommand", error.FullyQualifiedErrorId);
        Assert.Equal((byte)9, shell.Run("(Read-FleeceDisk target 1MB 1)[0]").Single());
    }

    [Fact]
    public void Damage_that_is_found_half_way_says_what_the_export_is_now()
    {
        using ModuleRunspace shell = new();
        shell.Run(Prepared + "$null = Start-FleeceSession vm; $null = Read-FleeceSnapshot vm | Export-Backup ./c.raw");
        using (FileStream image = File.OpenWrite(shell.File("c.raw")))
        {
            image.Position = 3 << 20;
            image.WriteByte(1);
        }

        ErrorRecord error = shell.Reports("Restore-FleeceBackup ./c.raw -DestinationUri $uri -Force");

        Assert.Equal("BackupDigestMismatch,Fleece.RestoreFleeceBackupCommand", error.FullyQualifiedErrorId);
        Assert.Contains("restore to it once more, from the beginning", error.Exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WhatIf_writes_nothing()
    {
        using ModuleRunspace shell = new();

        Assert.Equal((byte)9, shell.Run(Prepared + "Restore-FleeceBackup ./b.qcow2 -DestinationUri $uri -WhatIf; (Read-FleeceDisk target 1MB 1)[0]").Single());
    }
}
