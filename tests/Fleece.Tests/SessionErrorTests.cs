// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Management.Automation;

namespace Fleece.Tests;

/// <summary>Sessions and backups that can not be: a clear error with an id of its own, and nothing changed.</summary>
public sealed class SessionErrorTests
{
    private const string Vm =
        """
        $null = New-FleeceImage ./vm.raw 1MB
        $null = Mount-FleeceDisk ./vm.raw
        Write-FleeceDisk vm 0 ([byte[]](7) * 1MB)

        """;

    [Theory]
    [InlineData("Start-FleeceSession nobody", "DiskNotFound")]
    [InlineData("Start-FleeceSession vm -Name ''", "ArgumentInvalid")]
    [InlineData("Start-FleeceSession vm -GranuleSizeBytes 1000", "ParameterArgumentValidationError")]
    [InlineData("Start-FleeceSession vm -GranuleSizeBytes 256", "ParameterArgumentValidationError")]
    [InlineData("Start-FleeceSession vm -TempPath ./small.raw", "TempTooSmall")]
    [InlineData("Start-FleeceSession vm -TempPath ./vm.raw", "TempIsDisk")]
    [InlineData("Start-FleeceSession vm -TempPath ./link.raw", "TempIsDisk")]
    [InlineData("Start-FleeceSession vm -TempPath ./no/folder/temp.raw", "ImageNotFound")]
    [InlineData("Start-FleeceSession vm -TempPath ./empty.raw", "ImageEmpty")]
    [InlineData("Start-FleeceSession vm -Range @{ OffsetBytes = 1MB; LengthBytes = 1 }", "RangeBeyondEnd")]
    [InlineData("Start-FleeceSession vm -Range @{ OffsetBytes = -1; LengthBytes = 1 }", "ParameterArgumentTransformationError")]
    [InlineData("Start-FleeceSession vm -Range @{ OffsetBytes = [long]::MaxValue; LengthBytes = 2 }", "ParameterArgumentTransformationError")]
    [InlineData("Start-FleeceSession vm -Range @{ OffsetBytes = 1e30; LengthBytes = 2 }", "ParameterArgumentTransformationError")]
    [InlineData("Start-FleeceSession vm -Range @{ OffsetBytes = 1 }", "ParameterArgumentTransformationError")]
    [InlineData("Start-FleeceSession vm -Range @($null)", "ParameterArgumentTransformationError")]
    [InlineData("Start-FleeceSession vm -TempPath nodrive:/temp.raw", "ImageNotFound")]
    [InlineData("Start-FleeceSession vm -TempPath ''", "ParameterArgumentValidationError")]
    public void A_session_that_can_not_be_is_refused_and_leaves_nothing(string command, string errorId)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = New-FleeceImage ./small.raw 512KB; [IO.File]::WriteAllBytes(\"$folder/empty.raw\", [byte[]]::new(0))");
        File.CreateSymbolicLink(shell.File("link.raw"), shell.File("vm.raw"));
        string[] before = Directory.GetFiles(shell.Folder.Path);

        ErrorRecord error = shell.Ends(command);

        Assert.Equal($"{errorId},Fleece.StartFleeceSessionCommand", error.FullyQualifiedErrorId);
        Assert.Empty(shell.Run("Get-FleeceSession"));
        Assert.Equal(before.Order(), Directory.GetFiles(shell.Folder.Path).Order());
        Assert.All(shell.Run<byte[]>("Read-FleeceDisk vm 0 1MB"), value => Assert.Equal((byte)7, value));
    }

    [Fact]
    public void Two_sessions_of_one_disk_can_not_share_a_name()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm -Name nightly");

        ErrorRecord error = shell.Ends("Start-FleeceSession vm -Name NIGHTLY");

        Assert.Equal("SessionNameInUse,Fleece.StartFleeceSessionCommand", error.FullyQualifiedErrorId);
        Assert.Single(shell.Run("Get-FleeceSession"));
    }

    [Fact]
    public void A_temp_on_a_full_file_system_is_refused_before_the_session_starts()
    {
        using ModuleRunspace shell = new();
        string mount = Directory.CreateDirectory(shell.File("full")).FullName;
        Assert.SkipUnless(OperatingSystem.IsLinux() && Run("mount", "-t", "tmpfs", "-o", "size=256k", "none", mount),
            "mounting a small tmpfs is not permitted here");
        try
        {
            ErrorRecord error = shell.Ends(Vm + "Start-FleeceSession vm -TempPath ./full");

            Assert.Equal("StorageFull,Fleece.StartFleeceSessionCommand", error.FullyQualifiedErrorId);
            Assert.Empty(Directory.GetFiles(mount));
        }
        finally
        {
            Run("umount", mount);
        }
    }

    [Theory]
    [InlineData("Read-FleeceSnapshot nobody", "SessionNotFound,Fleece.ReadFleeceSnapshotCommand")]
    [InlineData("Read-FleeceSnapshot", "SessionAmbiguous,Fleece.ReadFleeceSnapshotCommand")]
    [InlineData("Read-FleeceSnapshot a -OffsetBytes 2MB", "RangeBeyondEnd,Fleece.ReadFleeceSnapshotCommand")]
    [InlineData("Read-FleeceSnapshot a -OffsetBytes 1 -LengthBytes 1MB", "RangeBeyondEnd,Fleece.ReadFleeceSnapshotCommand")]
    [InlineData("Read-FleeceSnapshot a -OffsetBytes -1", "ParameterArgumentValidationError,Fleece.ReadFleeceSnapshotCommand")]
    [InlineData("Read-FleeceSnapshot a -ChunkSizeBytes 1000", "ParameterArgumentValidationError,Fleece.ReadFleeceSnapshotCommand")]
    [InlineData("Read-FleeceSnapshot a -ChunkSizeBytes 32KB", "ParameterArgumentValidationError,Fleece.ReadFleeceSnapshotCommand")]
    [InlineData("Read-FleeceSnapshot a | Export-Backup ./there.raw", "ImageAlreadyExists,Fleece.ExportFleeceBackupCommand")]
    [InlineData("Read-FleeceSnapshot a | Export-Backup ./no/folder/b.raw", "ImageNotFound,Fleece.ExportFleeceBackupCommand")]
    [InlineData("Read-FleeceSnapshot a | Export-Backup nodrive:/b.raw", "ImageNotFound,Fleece.ExportFleeceBackupCommand")]
    [InlineData("Read-FleeceSnapshot a | Export-Backup ./vm.raw -Force", "ImageInUse,Fleece.ExportFleeceBackupCommand")]
    [InlineData("Read-FleeceSnapshot a | Export-Backup (Get-FleeceSession b).TempPath -Force", "ImageInUse,Fleece.ExportFleeceBackupCommand")]
    [InlineData("Read-FleeceSnapshot a | & { process { $_; $_ } } | Export-Backup ./b.raw", "ChunkAlreadyUsed,Fleece.ExportFleeceBackupCommand")]
    [InlineData("Read-FleeceSnapshot a | & { process { $_.Dispose(); $_ } } | Export-Backup ./b.raw", "ChunkAlreadyUsed,Fleece.ExportFleeceBackupCommand")]
    [InlineData("@() | Export-Backup ./b.raw", "BackupIncomplete,Fleece.ExportFleeceBackupCommand")]
    [InlineData("& { Read-FleeceSnapshot a; Read-FleeceSnapshot b } | Export-Backup ./b.raw", "ChunkOfAnotherSnapshot,Fleece.ExportFleeceBackupCommand")]
    public void A_backup_that_can_not_be_ends_the_statement_and_leaves_no_file(string command, string errorId)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm -Name a; $null = Start-FleeceSession vm -Name b; [IO.File]::WriteAllText(\"$folder/there.raw\", 'x')");
        string[] before = Directory.GetFiles(shell.Folder.Path);

        ErrorRecord error = shell.Ends(command);

        Assert.Equal(errorId, error.FullyQualifiedErrorId);
        Assert.Equal(before.Order(), Directory.GetFiles(shell.Folder.Path).Order());
    }

    [Theory]
    [InlineData("Get-FleeceSession nobody", "SessionNotFound,Fleece.GetFleeceSessionCommand")]
    [InlineData("Get-FleeceSession 'v['", "ArgumentInvalid,Fleece.GetFleeceSessionCommand")]
    [InlineData("Stop-FleeceSession nobody", "SessionNotFound,Fleece.StopFleeceSessionCommand")]
    [InlineData("Get-FleeceSnapshotMap nobody", "SessionNotFound,Fleece.GetFleeceSnapshotMapCommand")]
    [InlineData("Clear-FleeceSnapshot nobody -OffsetBytes 0 -LengthBytes 1", "SessionNotFound,Fleece.ClearFleeceSnapshotCommand")]
    [InlineData("Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 2MB", "RangeBeyondEnd,Fleece.ClearFleeceSnapshotCommand")]
    [InlineData("Clear-FleeceSnapshot vm -OffsetBytes -1 -LengthBytes 1", "ParameterArgumentValidationError,Fleece.ClearFleeceSnapshotCommand")]
    [InlineData("Dismount-FleeceDisk vm", "DiskBusy,Fleece.DismountFleeceDiskCommand")]
    public void A_bad_request_to_a_session_is_reported_and_changes_nothing(string command, string errorId)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm");

        ErrorRecord error = shell.Reports(command);

        Assert.Equal(errorId, error.FullyQualifiedErrorId);
        Assert.Equal(0L, shell.Run<long>("(Get-FleeceSession vm).ConsumedBytes"));
    }

    [Fact]
    public void A_name_that_two_disks_use_must_be_qualified()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = New-FleeceImage ./w.raw 1MB; $null = Mount-FleeceDisk ./w.raw; $null = Start-FleeceSession vm, w -Name n");

        ErrorRecord error = shell.Reports("Stop-FleeceSession n");

        Assert.Equal("SessionAmbiguous,Fleece.StopFleeceSessionCommand", error.FullyQualifiedErrorId);
        Assert.Contains("vm/n", error.Exception.Message, StringComparison.Ordinal);
        shell.Run("Stop-FleeceSession vm/n, w/n");
    }

    // A renamed backup in its place would leave the guest writing into a file without a name.
    [Fact]
    public void Force_never_takes_the_file_of_a_live_disk()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm");

        shell.Ends("Read-FleeceSnapshot | Export-Backup ./vm.raw -Force");
        shell.Run("Write-FleeceDisk vm 0 ([byte[]](9) * 512); Stop-FleeceSession vm; Dismount-FleeceDisk vm");

        Assert.Equal(9, File.ReadAllBytes(shell.File("vm.raw"))[0]);
    }

    [Fact]
    public void Force_does_not_take_a_file_that_was_opened_while_the_backup_was_made()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm; $null = New-FleeceImage ./b.raw 1MB");

        ErrorRecord error = shell.Ends(
            "Read-FleeceSnapshot vm | & { process { $_ } end { $null = Mount-FleeceDisk ./b.raw } } | Export-Backup ./b.raw -Force");

        Assert.Equal("ImageInUse,Fleece.ExportFleeceBackupCommand", error.FullyQualifiedErrorId);
        Assert.All(shell.Run<byte[]>("Read-FleeceDisk b 0 1MB"), value => Assert.Equal((byte)0, value));
        Assert.False(File.Exists(shell.File("b.raw.partial")));
    }

    [Fact]
    public void Force_replaces_a_backup_only_when_the_new_one_is_complete()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm; $null = Read-FleeceSnapshot | Export-Backup ./b.raw");

        shell.Ends("@(Read-FleeceSnapshot -ChunkSizeBytes 64KB)[0..1] | Export-Backup ./b.raw -Force");
        Assert.All(File.ReadAllBytes(shell.File("b.raw")), value => Assert.Equal((byte)7, value));

        shell.Run("$null = Read-FleeceSnapshot | Export-Backup ./b.raw -Force");
        Assert.False(File.Exists(shell.File("b.raw.partial")));
    }

    private static bool Run(string tool, params string[] arguments)
    {
        using Process? process = Process.Start(new ProcessStartInfo(tool, arguments) { RedirectStandardError = true });
        process!.WaitForExit();
        return process.ExitCode == 0;
    }
}
