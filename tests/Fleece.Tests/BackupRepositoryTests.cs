// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Manifests;
using Fleece.Backups.Records;
using Fleece.Images;

namespace Fleece.Tests;

/// <summary>Backups night after night, as a script makes, looks at and restores them.</summary>
public sealed class BackupRepositoryTests
{
    private const string Vm =
        """
        $random = [Random]::new(7)
        $data = [byte[]]::new(1MB)
        $random.NextBytes($data)
        $null = New-FleeceImage ./vm.raw 6MB
        $null = Mount-FleeceDisk ./vm.raw
        Write-FleeceDisk vm 1MB $data

        """;

    private const string Nights = Vm +
        """
        $first = Backup-FleeceDisk vm ./backups
        Write-FleeceDisk vm 3MB ($data[0..65535])
        $second = Backup-FleeceDisk vm ./backups

        """;

    // The issue's own lines.
    [Fact]
    public void The_pipeline_makes_a_full_backup_first_and_then_what_changed()
    {
        using ModuleRunspace shell = new();
        object[] output = shell.Run(Vm +
            """
            $null = New-FleeceBitmap vm daily
            foreach ($night in 1..3) {
                $null = Start-FleeceSession vm -Bitmap daily -NextBitmap daily2
                Write-FleeceDisk vm (64KB * $night) ([byte[]] $night)
                Read-FleeceSnapshot -DiscardConsumed | Export-Backup -DestinationPath ./backups/ -Verify
                Stop-FleeceSession vm -Success
            }
            """);

        BackupInfo[] backups = Array.ConvertAll(output, item => (BackupInfo)item);
        Assert.Equal([BackupKind.Full, BackupKind.Incremental, BackupKind.Incremental], backups.Select(backup => backup.Point!.Kind));
        Assert.Equal([1 << 20, 65536, 65536], backups.Select(backup => backup.DataBytes + (backup.Point!.Kind == BackupKind.Full ? 0 : backup.ZeroBytes)));
        Assert.All(backups, backup => Assert.True(backup.IsVerified));
        Assert.Equal([true, true, true], shell.Run("(Test-FleeceBackup ./backups -Deep).IsGood"));
    }

    [Fact]
    public void A_night_on_which_nothing_changed_makes_an_empty_backup_in_the_pipeline_too()
    {
        using ModuleRunspace shell = new();

        BackupInfo backup = shell.Run<BackupInfo>(Vm +
            """
            $null = New-FleeceBitmap vm daily
            $null = Start-FleeceSession vm -Bitmap daily
            $null = Read-FleeceSnapshot | Export-Backup ./backups/
            Stop-FleeceSession vm -Success
            $null = Start-FleeceSession vm -Bitmap daily
            Read-FleeceSnapshot -DiscardConsumed | Export-Backup ./backups/
            """);

        Assert.Equal((2, 0L, 0L), (backup.Point!.Number, backup.DataBytes, backup.ZeroBytes));
    }

    [Fact]
    public void The_whole_line_in_one_cmdlet_keeps_as_many_as_it_is_told()
    {
        using ModuleRunspace shell = new();
        shell.Run(Nights + "$null = Backup-FleeceDisk vm ./backups -Keep 2 -Verify");

        object[] numbers = shell.Run("(Get-FleeceBackup ./backups).Number");

        Assert.Equal([2, 3], numbers);
        Assert.Empty(shell.Run("Get-FleeceSession"));
        Assert.True(shell.Run<bool>(
            "$null = Restore-FleeceBackup ./backups -DestinationPath ./r.qcow2; Dismount-FleeceDisk vm; (Compare-FleeceImage ./r.qcow2 ./vm.raw).AreEqual"));
    }

    [Fact]
    public void Points_are_piped_to_be_tested_and_restored()
    {
        using ModuleRunspace shell = new();
        object[] output = shell.Run(Nights +
            """
            @(Get-FleeceBackup ./backups | Test-FleeceBackup -Deep).Count
            @((Get-FleeceBackup ./backups)[-1] | Test-FleeceBackup).Count
            @($second | Test-FleeceBackup).Number
            ((Get-FleeceBackup ./backups)[0] | Restore-FleeceBackup -DestinationPath ./first.raw).SizeBytes
            (Get-FleeceBackup ./backups -At ([DateTime]::Now)).Number
            """);

        Assert.Equal([2, 2, 1, 2, 6L << 20, 2], output);
        Assert.Equal(new byte[65536], File.ReadAllBytes(shell.File("first.raw")).AsSpan(3 << 20, 65536).ToArray());
    }

    [Theory]
    [InlineData("raw")]
    [InlineData("qcow2")]
    public void A_range_is_restored_to_any_format(string extension)
    {
        using ModuleRunspace shell = new();

        ImageInfo restored = shell.Run<ImageInfo>(
            Nights + $"Restore-FleeceBackup ./backups ./piece.{extension} -OffsetBytes 3MB -LengthBytes 64KB");

        Assert.Equal(65536, restored.SizeBytes);
        Assert.True(shell.Run<bool>(
            $"[IO.File]::WriteAllBytes(\"$folder/expected.raw\", $data[0..65535]); (Compare-FleeceImage ./piece.{extension} ./expected.raw).AreEqual"));
    }

    [Fact]
    public void A_stream_gets_the_disks_bytes_in_order()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm +
            """
            $null = Start-FleeceSession vm
            $stream = [IO.File]::Create("$folder/copy.raw")
            $null = Read-FleeceSnapshot | Export-Backup -Stream $stream
            $stream.Close()
            Dismount-FleeceDisk vm -Force
            """);

        Assert.Equal(File.ReadAllBytes(shell.File("vm.raw")), File.ReadAllBytes(shell.File("copy.raw")));
    }

    [Theory]
    [InlineData("Get-FleeceBackup ./nowhere", "ImageNotFound,Fleece.GetFleeceBackupCommand")]
    [InlineData("Get-FleeceBackup ./backups -At 2001-01-01", "BackupNotFound,Fleece.GetFleeceBackupCommand")]
    [InlineData("Get-FleeceBackup ./vm.raw", "BackupNotFound,Fleece.GetFleeceBackupCommand")]
    [InlineData("Restore-FleeceBackup ./backups ./vm.raw", "ImageAlreadyExists,Fleece.RestoreFleeceBackupCommand")]
    [InlineData("Restore-FleeceBackup ./backups ./r.raw -LengthBytes 1000", "ParameterArgumentValidationError,Fleece.RestoreFleeceBackupCommand")]
    [InlineData("Restore-FleeceBackup ./backups ./r.raw -OffsetBytes 9MB", "RangeBeyondEnd,Fleece.RestoreFleeceBackupCommand")]
    [InlineData("Backup-FleeceDisk nobody ./backups", "DiskNotFound,Fleece.BackupFleeceDiskCommand")]
    [InlineData("Backup-FleeceDisk vm ./no/backups", "ImageNotFound,Fleece.BackupFleeceDiskCommand")]
    [InlineData("Backup-FleeceDisk vm ./vm.raw", "ImageAlreadyExists,Fleece.BackupFleeceDiskCommand")]
    [InlineData("[IO.Directory]::GetFiles(\"$folder/backups\", '*.json').ForEach({ [IO.File]::Delete($_) }); Backup-FleeceDisk vm ./backups", "BackupParentMissing,Fleece.BackupFleeceDiskCommand")]
    [InlineData("[IO.File]::WriteAllText(\"$folder/backups/vm-000002.json\", '{'); Get-FleeceBackup ./backups > $null", "BackupManifestInvalid,Fleece.GetFleeceBackupCommand")]
    public void What_can_not_be_is_reported(string script, string errorId)
    {
        using ModuleRunspace shell = new();
        shell.Run(Nights);

        Assert.Equal(errorId, shell.Reports(script).FullyQualifiedErrorId);
    }

    [Theory]
    [InlineData("Read-FleeceSnapshot -LengthBytes 1MB | Export-Backup ./backups/", "BackupIncomplete")]
    [InlineData("Read-FleeceSnapshot | Where-Object OffsetBytes -NE 1MB | Export-Backup ./backups/", "BackupIncomplete")]
    [InlineData("& { Read-FleeceSnapshot; Read-FleeceSnapshot } | Export-Backup ./backups/", "BackupIncomplete")]
    [InlineData("Read-FleeceSnapshot | Export-Backup -Stream ([IO.MemoryStream]::new()) -Verify", "ArgumentInvalid")]
    public void A_pipeline_that_does_not_bring_the_snapshot_once_makes_no_backup(string script, string errorId)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm");

        Assert.Equal($"{errorId},Fleece.ExportFleeceBackupCommand", shell.Ends(script).FullyQualifiedErrorId);
        string repository = shell.File("backups");
        Assert.All(Directory.Exists(repository) ? Directory.GetFiles(repository) : [], path => Assert.EndsWith(".lock", path, StringComparison.Ordinal));
    }

    [Fact]
    public void Limited_to_ranges_a_session_is_no_point()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm -Range @{ OffsetBytes = 0; LengthBytes = 1MB }");

        ErrorRecord error = shell.Ends("Read-FleeceSnapshot | Export-Backup ./backups/");

        Assert.Equal("ArgumentInvalid,Fleece.ExportFleeceBackupCommand", error.FullyQualifiedErrorId);
    }

    [Fact]
    public void WhatIf_makes_nothing()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "Backup-FleeceDisk vm ./backups -WhatIf");

        Assert.False(Directory.Exists(shell.File("backups")));
        Assert.Empty(shell.Run("Get-FleeceBitmap vm"));
    }
}
