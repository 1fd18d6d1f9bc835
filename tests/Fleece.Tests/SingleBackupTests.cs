// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Records;
using Fleece.Backups.Repositories;

namespace Fleece.Tests;

/// <summary>A backup that is one file, and the manifest beside it.</summary>
public sealed class SingleBackupTests
{
    private const string Vm =
        """
        $null = New-FleeceImage ./vm.raw 4MB
        $null = Mount-FleeceDisk ./vm.raw
        Write-FleeceDisk vm 1MB ([byte[]](7) * 1MB)
        $session = Start-FleeceSession vm

        """;

    [Theory]
    [InlineData("raw")]
    [InlineData("qcow2")]
    [InlineData("vhdx")]
    [InlineData("vhd")]
    public void It_is_found_tested_and_restored_by_its_manifest(string extension)
    {
        using ModuleRunspace shell = new();

        object[] told = shell.Run(Vm +
            $$"""
            $null = Read-FleeceSnapshot | Export-Backup ./b.{{extension}}
            $point = Get-FleeceBackup ./b.{{extension}}
            "$($point.Kind) $($point.Disk) $($point.Number) $($point.SizeBytes) $($point.DataBytes)"
            $point.Id -eq $session.InstantId
            $report = $point | Test-FleeceBackup -Deep
            "$($report.IsGood) $($report.CheckedBytes)"
            $null = Restore-FleeceBackup ./b.{{extension}} -DestinationPath ./restored.raw
            $null = $point | Restore-FleeceBackup -DestinationPath ./restored.vhdx
            Stop-FleeceSession vm; Dismount-FleeceDisk vm
            (Compare-FleeceImage ./vm.raw ./restored.raw).AreEqual
            (Compare-FleeceImage ./vm.raw ./restored.vhdx).AreEqual
            """);

        Assert.Equal(["Full vm 0 4194304 1048576", true, "True 1048576", true, true], told);
        Assert.True(File.Exists(shell.File($"b.{extension}.json")));
        Assert.False(File.Exists(shell.File("restored.raw.json")));
    }

    [Fact]
    public void The_backup_object_and_the_manifests_path_mean_it_too()
    {
        using ModuleRunspace shell = new();

        object[] told = shell.Run(Vm +
            """
            $backup = Read-FleeceSnapshot | Export-Backup ./b.qcow2
            $backup.Point.Kind
            ($backup | Test-FleeceBackup).IsGood
            (Get-FleeceBackup ./b.qcow2.json).Path -eq $backup.Path
            @(Get-FleeceBackup ./*.qcow2).Count
            """);

        Assert.Equal([BackupKind.Full, true, true, 1], told);
    }

    [Fact]
    public void Image_and_manifest_can_be_renamed_together()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Read-FleeceSnapshot | Export-Backup ./b.qcow2");
        File.Move(shell.File("b.qcow2"), shell.File("vm-000001.qcow2"));
        File.Move(shell.File("b.qcow2.json"), shell.File("vm-000001.qcow2.json"));

        Assert.True(shell.Run<BackupReport>("Test-FleeceBackup ./vm-000001.qcow2 -Deep").IsGood);
        Assert.Empty(shell.Run("Get-FleeceBackup ."));
    }

    [Theory]
    [InlineData("Get-FleeceBackup ./b.raw", "BackupNotFound,Fleece.GetFleeceBackupCommand")]
    [InlineData("Test-FleeceBackup ./b.raw", "BackupNotFound,Fleece.TestFleeceBackupCommand")]
    [InlineData("Restore-FleeceBackup ./b.raw ./r.raw", "BackupNotFound,Fleece.RestoreFleeceBackupCommand")]
    public void Without_its_manifest_the_error_names_it_and_the_way(string command, string id)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Read-FleeceSnapshot | Export-Backup ./b.raw -NoManifest");

        ErrorRecord error = shell.Reports(command);

        Assert.Equal(id, error.FullyQualifiedErrorId);
        Assert.Contains("its manifest 'b.raw.json' is not beside it", error.Exception.Message, StringComparison.Ordinal);
        Assert.Contains("Convert-FleeceImage", error.Exception.Message, StringComparison.Ordinal);
        Assert.Equal(["b.raw", "vm.raw"], Directory.GetFiles(shell.Folder.Path, "*.raw*").Select(Path.GetFileName).Order().Where(name => !name!.Contains("temp")));
    }

    [Fact]
    public void An_image_that_is_gone_is_named()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Read-FleeceSnapshot | Export-Backup ./b.raw");
        File.Delete(shell.File("b.raw"));

        Assert.Equal("BackupChainBroken,Fleece.GetFleeceBackupCommand", shell.Reports("Get-FleeceBackup ./b.raw").FullyQualifiedErrorId);
        Assert.Equal("BackupChainBroken,Fleece.RestoreFleeceBackupCommand", shell.Reports("Restore-FleeceBackup ./b.raw ./r.raw").FullyQualifiedErrorId);
        Assert.False(shell.Run<BackupReport>("Test-FleeceBackup ./b.raw").IsGood);
    }

    // Same length, and where the manifest says zeros the new image has data: only its content tells.
    [Fact]
    public void A_manifest_that_is_of_another_image_is_not_believed()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Read-FleeceSnapshot | Export-Backup ./b.raw");
        using (FileStream image = File.OpenWrite(shell.File("b.raw")))
        {
            image.Position = (3 << 20) + 5;
            image.WriteByte(1);
        }

        BackupReport deep = shell.Run<BackupReport>("Test-FleeceBackup ./b.raw -Deep");
        ErrorRecord error = shell.Reports("Restore-FleeceBackup ./b.raw ./r.raw");

        Assert.Equal((3 << 20) + 5, Assert.Single(deep.Findings).OffsetBytes);
        Assert.Equal("BackupDigestMismatch,Fleece.RestoreFleeceBackupCommand", error.FullyQualifiedErrorId);
        Assert.False(File.Exists(shell.File("r.raw")));
    }

    [Fact]
    public void An_image_of_another_length_is_not_believed_at_first_sight()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Read-FleeceSnapshot | Export-Backup ./b.raw");
        using (FileStream image = File.OpenWrite(shell.File("b.raw")))
        {
            image.SetLength(8 << 20);
        }

        Assert.Equal("BackupChainBroken,Fleece.GetFleeceBackupCommand", shell.Reports("Get-FleeceBackup ./b.raw").FullyQualifiedErrorId);
        Assert.False(shell.Run<BackupReport>("Test-FleeceBackup ./b.raw").IsGood);
    }

    [Theory]
    [InlineData("Read-FleeceSnapshot | Export-Backup ./b.raw -Force")]
    [InlineData("Read-FleeceSnapshot | Export-Backup ./b.raw -Force -NoManifest")]
    [InlineData("Convert-FleeceImage ./vm.raw ./b.raw -Force")]
    [InlineData("Restore-FleeceBackup ./old.qcow2 ./b.raw -Force")]
    public void Whatever_replaces_the_image_takes_its_manifest_away(string command)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm +
            """
            $null = Read-FleeceSnapshot | Export-Backup ./b.raw
            $null = Read-FleeceSnapshot | Export-Backup ./old.qcow2
            Stop-FleeceSession vm
            Write-FleeceDisk vm 3MB ([byte[]](8) * 1MB)
            $session = Start-FleeceSession vm
            """ + (command.StartsWith("Convert", StringComparison.Ordinal) ? "\nStop-FleeceSession vm; Dismount-FleeceDisk vm" : string.Empty));
        string before = File.ReadAllText(shell.File("b.raw.json"));

        shell.Run("$null = " + command);

        if (command.EndsWith("./b.raw -Force", StringComparison.Ordinal) && command.StartsWith("Read", StringComparison.Ordinal))
        {
            Assert.NotEqual(before, File.ReadAllText(shell.File("b.raw.json")));
            Assert.True(shell.Run<BackupReport>("Test-FleeceBackup ./b.raw -Deep").IsGood);
        }
        else
        {
            Assert.False(File.Exists(shell.File("b.raw.json")));
        }
    }

    [Theory]
    [InlineData("Read-FleeceSnapshot | Export-Backup ./b.raw")]
    [InlineData("Read-FleeceSnapshot | Export-Backup ./b.raw -NoManifest")]
    public void A_manifest_without_its_image_is_not_replaced_unasked(string command)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Read-FleeceSnapshot | Export-Backup ./b.raw");
        File.Delete(shell.File("b.raw"));

        ErrorRecord error = shell.Ends(command);

        Assert.Equal("ImageAlreadyExists,Fleece.ExportFleeceBackupCommand", error.FullyQualifiedErrorId);
        Assert.Contains("b.raw.json", error.Exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_no_manifest_is_never_replaced()
    {
        using ModuleRunspace shell = new();
        File.WriteAllText(shell.File("b.raw.json"), "{ \"mine\": 1 }");

        ErrorRecord error = shell.Ends(Vm + "Read-FleeceSnapshot | Export-Backup ./b.raw -Force");
        shell.Run("$null = Read-FleeceSnapshot | Export-Backup ./b.raw -Force -NoManifest");

        Assert.Equal("ImageAlreadyExists,Fleece.ExportFleeceBackupCommand", error.FullyQualifiedErrorId);
        Assert.Equal("{ \"mine\": 1 }", File.ReadAllText(shell.File("b.raw.json")));
    }

    [Theory]
    [InlineData("fleeceManifest\": 2", "fleeceManifest\": 3")]
    [InlineData("fleeceManifest\": 2", "fleeceManifest\": 1")]
    [InlineData("\"number\": 0", "\"number\": 3")]
    [InlineData("\"state\": \"Kept\"", "\"state\": \"Merged\"")]
    [InlineData("\"sizeBytes\"", "\"size\"")]
    [InlineData("[1048576,1048576", "[9048576,1048576")]
    public void A_damaged_manifest_is_told(string text, string other)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Read-FleeceSnapshot | Export-Backup ./b.raw");
        string manifest = File.ReadAllText(shell.File("b.raw.json"));
        Assert.Contains(text, manifest, StringComparison.Ordinal);
        File.WriteAllText(shell.File("b.raw.json"), manifest.Replace(text, other, StringComparison.Ordinal));

        Assert.Equal("BackupManifestInvalid,Fleece.RestoreFleeceBackupCommand", shell.Reports("Restore-FleeceBackup ./b.raw ./r.raw").FullyQualifiedErrorId);
    }

    [Theory]
    [InlineData("-Range @{ OffsetBytes = 1MB; LengthBytes = 1MB }", "Partial")]
    [InlineData("-Bitmap daily", "Incremental")]
    public void What_holds_a_part_of_the_disk_says_so_and_restores_that_part(string limit, string kind)
    {
        using ModuleRunspace shell = new();
        shell.Run(
            """
            $null = New-FleeceImage ./vm.raw 4MB
            $null = Mount-FleeceDisk ./vm.raw
            $null = New-FleeceBitmap vm daily
            Start-FleeceSession vm -Bitmap daily | Stop-FleeceSession -Success
            Write-FleeceDisk vm 1MB ([byte[]](7) * 1MB)
            """ + $"\n$null = Start-FleeceSession vm {limit}; $null = Read-FleeceSnapshot | Export-Backup ./b.qcow2");

        Assert.Equal(kind, shell.Run<BackupPointInfo>("Get-FleeceBackup ./b.qcow2").Kind.ToString());
        Assert.True(shell.Run<BackupReport>("Test-FleeceBackup ./b.qcow2 -Deep").IsGood);
        ErrorRecord error = shell.Reports("Restore-FleeceBackup ./b.qcow2 ./r.raw");
        shell.Run("$null = Restore-FleeceBackup ./b.qcow2 ./part.raw -OffsetBytes 1MB -LengthBytes 1MB");

        Assert.Equal("BackupParentMissing,Fleece.RestoreFleeceBackupCommand", error.FullyQualifiedErrorId);
        Assert.All(File.ReadAllBytes(shell.File("part.raw")), value => Assert.Equal((byte)7, value));
    }

    [Fact]
    public void Chunks_that_overlap_make_a_backup_without_a_manifest_and_a_warning()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm);
        using PowerShell run = PowerShell.Create(shell.Runspace);

        BackupInfo backup = Assert.IsType<BackupInfo>(run
            .AddScript("@(Read-FleeceSnapshot) + @(Read-FleeceSnapshot -OffsetBytes 1MB) | Export-Backup ./b.raw").Invoke().Single().BaseObject);

        Assert.Null(backup.Point);
        Assert.Contains("has no manifest", Assert.Single(run.Streams.Warning).Message, StringComparison.Ordinal);
        Assert.False(File.Exists(shell.File("b.raw.json")));
    }

    [Fact]
    public void A_repository_has_manifests_always()
    {
        using ModuleRunspace shell = new();

        ErrorRecord error = shell.Ends(Vm + "Read-FleeceSnapshot | Export-Backup ./backups/ -NoManifest");

        Assert.Equal("ArgumentInvalid,Fleece.ExportFleeceBackupCommand", error.FullyQualifiedErrorId);
    }
}
