// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Management.Automation;
using Fleece.Block.Files;

namespace Fleece.Tests;

/// <summary>Files that are no disks: a clear error with an id of its own, and nothing changed.</summary>
public sealed class ImageErrorTests
{
    [Theory]
    [InlineData("./missing.raw", "ImageNotFound")]
    [InlineData("./no/such/folder/vm.raw", "ImageNotFound")]
    [InlineData("./*.nothing", "ImageNotFound")]
    [InlineData("./half[", "ImageNotFound")]
    [InlineData("nodrive:/vm.raw", "ImageNotFound")]
    [InlineData("nodrive:/*.raw", "ImageNotFound")]
    [InlineData("NoProvider::/vm.raw", "ImageNotFound")]
    [InlineData("Env:/PATH", "ImageNotAFile")]
    [InlineData(".", "ImageNotAFile")]
    [InlineData("./empty.raw", "ImageEmpty")]
    [InlineData("./disguised.raw", "ImageFormatAmbiguous")]
    [InlineData("./cut.qcow2", "ImageTruncated")]
    [InlineData("./disk.vhdx", "ImageTruncated")]
    [InlineData("./disk.vmdk", "ImageUnsupported")]
    public void Mounting_what_is_no_disk_is_refused(string path, string errorId)
    {
        using ModuleRunspace shell = new();
        File.WriteAllBytes(shell.File("empty.raw"), []);
        File.WriteAllBytes(shell.File("disk.vhdx"), [.. "vhdxfile"u8, .. new byte[4088]]);
        File.WriteAllBytes(shell.File("disk.vmdk"), [.. "KDMV"u8, .. new byte[4092]]);
        shell.Run("$null = New-FleeceImage ./whole.qcow2 1MB");
        byte[] qcow2 = File.ReadAllBytes(shell.File("whole.qcow2"));
        File.WriteAllBytes(shell.File("disguised.raw"), qcow2);
        File.WriteAllBytes(shell.File("cut.qcow2"), qcow2[..64]);
        Dictionary<string, byte[]> before = Contents(shell);

        ErrorRecord error = shell.Reports($"Mount-FleeceDisk '{path}'");

        Assert.Equal($"{errorId},Fleece.MountFleeceDiskCommand", error.FullyQualifiedErrorId);
        Assert.Empty(shell.Run("Get-FleeceDisk"));
        Assert.Equal(before, Contents(shell));
    }

    [Fact]
    public void A_raw_file_is_not_taken_for_qcow2()
    {
        using ModuleRunspace shell = new();
        File.WriteAllBytes(shell.File("vm.raw"), new byte[4096]);

        ErrorRecord error = shell.Reports("Mount-FleeceDisk ./vm.raw -Format Qcow2");

        Assert.Equal("ImageWrongFormat,Fleece.MountFleeceDiskCommand", error.FullyQualifiedErrorId);
    }

    [Fact]
    public void A_file_that_is_mounted_is_in_use_for_everybody_else()
    {
        using ModuleRunspace shell = new();
        shell.Run("$null = New-FleeceImage ./vm.raw 1MB; $null = Mount-FleeceDisk ./vm.raw");

        ErrorRecord error = shell.Reports("Mount-FleeceDisk ./vm.raw -Name again");

        Assert.Equal("ImageInUse,Fleece.MountFleeceDiskCommand", error.FullyQualifiedErrorId);
        Assert.Contains(shell.File("vm.raw"), error.Exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_another_program_holds_is_in_use()
    {
        using ModuleRunspace shell = new();
        shell.Run("$null = New-FleeceImage ./vm.raw 1MB");
        using LocalFile holder = LocalFile.Open(shell.File("vm.raw"), isReadOnly: false);

        ErrorRecord error = shell.Reports("Mount-FleeceDisk ./vm.raw");

        Assert.Equal("ImageInUse,Fleece.MountFleeceDiskCommand", error.FullyQualifiedErrorId);
    }

    // Another process, told through its standard streams when it holds the lock and when it may go.
    [Fact]
    public void A_file_that_another_process_holds_is_in_use()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/flock"), "flock (util-linux) is not installed");
        using ModuleRunspace shell = new();
        shell.Run("$null = New-FleeceImage ./vm.raw 1MB");
        ProcessStartInfo start = new("/usr/bin/flock", ["--exclusive", shell.File("vm.raw"), "sh", "-c", "echo held; cat"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        using Process holder = Process.Start(start)!;
        Assert.Equal("held", holder.StandardOutput.ReadLine());

        ErrorRecord error = shell.Reports("Mount-FleeceDisk ./vm.raw");

        holder.StandardInput.Close();
        holder.WaitForExit();
        Assert.Equal("ImageInUse,Fleece.MountFleeceDiskCommand", error.FullyQualifiedErrorId);
        shell.Run("$null = Mount-FleeceDisk ./vm.raw");
    }

    [Fact]
    public void One_bad_path_does_not_keep_the_others_from_being_mounted()
    {
        using ModuleRunspace shell = new();
        shell.Run("$null = New-FleeceImage ./a.raw 1MB; $null = New-FleeceImage ./b.raw 1MB");

        shell.Reports("Mount-FleeceDisk ./a.raw, nodrive:/vm.raw, ./b.raw");

        Assert.Equal(["a", "b"], shell.Run("Get-FleeceDisk").Select(disk => disk.ToString()));
    }

    [Theory]
    [InlineData("New-FleeceImage ./new.raw 0", "ParameterArgumentValidationError")]
    [InlineData("New-FleeceImage ./new.raw 1000", "ParameterArgumentValidationError")]
    [InlineData("New-FleeceImage ./new.raw -SizeBytes -512", "ParameterArgumentValidationError")]
    [InlineData("New-FleeceImage ./new.qcow2 1MB -BlockSizeBytes 1000", "ParameterArgumentValidationError")]
    [InlineData("New-FleeceImage ./no/folder/new.raw 1MB", "ImageNotFound")]
    [InlineData("New-FleeceImage ./new.vmdk 1MB", "ImageUnsupported")]
    public void An_image_that_can_not_be_made_leaves_no_file(string command, string errorId)
    {
        using ModuleRunspace shell = new();

        ErrorRecord error = shell.Reports(command);

        Assert.Equal($"{errorId},Fleece.NewFleeceImageCommand", error.FullyQualifiedErrorId);
        Assert.Empty(Directory.GetFileSystemEntries(shell.Folder.Path));
    }

    [Fact]
    public void An_existing_file_is_never_overwritten_by_a_new_image()
    {
        using ModuleRunspace shell = new();
        File.WriteAllText(shell.File("vm.raw"), "precious");

        ErrorRecord error = shell.Reports("New-FleeceImage ./vm.raw 1MB");

        Assert.Equal("ImageAlreadyExists,Fleece.NewFleeceImageCommand", error.FullyQualifiedErrorId);
        Assert.Equal("precious", File.ReadAllText(shell.File("vm.raw")));
    }

    [Theory]
    [InlineData("Read-FleeceDisk vm 1MB 1", "RangeBeyondEnd,Fleece.ReadFleeceDiskCommand")]
    [InlineData("Read-FleeceDisk vm -OffsetBytes -1 -LengthBytes 1", "ParameterArgumentValidationError,Fleece.ReadFleeceDiskCommand")]
    [InlineData("Read-FleeceDisk vm 0 -LengthBytes -1", "ParameterArgumentValidationError,Fleece.ReadFleeceDiskCommand")]
    [InlineData("Read-FleeceDisk vm ([long]::MaxValue) 2", "RangeInvalid,Fleece.ReadFleeceDiskCommand")]
    [InlineData("Write-FleeceDisk vm (1MB - 1) ([byte[]](1, 2))", "RangeBeyondEnd,Fleece.WriteFleeceDiskCommand")]
    [InlineData("Write-FleeceDisk vm -OffsetBytes -1 -Data ([byte[]](1, 2))", "ParameterArgumentValidationError,Fleece.WriteFleeceDiskCommand")]
    [InlineData("Write-FleeceDisk vm ([long]::MaxValue) ([byte[]](1, 2))", "RangeInvalid,Fleece.WriteFleeceDiskCommand")]
    [InlineData("Read-FleeceDisk nobody 0 1", "DiskNotFound,Fleece.ReadFleeceDiskCommand")]
    [InlineData("Write-FleeceDisk nobody 0 ([byte[]](1))", "DiskNotFound,Fleece.WriteFleeceDiskCommand")]
    [InlineData("Get-FleeceDisk nobody", "DiskNotFound,Fleece.GetFleeceDiskCommand")]
    [InlineData("Get-FleeceDisk 'v['", "ArgumentInvalid,Fleece.GetFleeceDiskCommand")]
    [InlineData("Dismount-FleeceDisk nobody", "DiskNotFound,Fleece.DismountFleeceDiskCommand")]
    [InlineData("Mount-FleeceDisk ./other.raw -Name VM", "DiskNameInUse,Fleece.MountFleeceDiskCommand")]
    [InlineData("Mount-FleeceDisk ./other.raw -Name a/b", "ArgumentInvalid,Fleece.MountFleeceDiskCommand")]
    public void A_bad_request_to_a_disk_is_refused_and_changes_nothing(string command, string errorId)
    {
        using ModuleRunspace shell = new();
        shell.Run("$null = New-FleeceImage ./vm.raw 1MB; $null = New-FleeceImage ./other.raw 1MB; $null = Mount-FleeceDisk ./vm.raw");
        shell.Run("Write-FleeceDisk vm 0 ([byte[]](7) * 1MB)");

        ErrorRecord error = shell.Reports(command);

        Assert.Equal(errorId, error.FullyQualifiedErrorId);
        Assert.Equal("vm", shell.Run("Get-FleeceDisk").Single().ToString());
        Assert.All(shell.Run<byte[]>("Read-FleeceDisk vm 0 1MB"), value => Assert.Equal((byte)7, value));
    }

    [Fact]
    public void A_read_only_disk_refuses_writes()
    {
        using ModuleRunspace shell = new();
        shell.Run("$null = New-FleeceImage ./vm.raw 1MB; $null = Mount-FleeceDisk ./vm.raw -ReadOnly");

        ErrorRecord error = shell.Reports("Write-FleeceDisk vm 0 ([byte[]](1))");

        Assert.Equal("DiskReadOnly,Fleece.WriteFleeceDiskCommand", error.FullyQualifiedErrorId);
    }

    private static Dictionary<string, byte[]> Contents(ModuleRunspace shell) =>
        Directory.GetFiles(shell.Folder.Path).ToDictionary(path => path, File.ReadAllBytes);
}
