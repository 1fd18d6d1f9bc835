// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Images;

namespace Fleece.Tests;

/// <summary>What one cmdlet writes goes into the next without a script between them.</summary>
public sealed class PipingTests
{
    private const string Vm =
        """
        $null = New-FleeceImage ./vm.raw 1MB
        $null = Mount-FleeceDisk ./vm.raw
        Write-FleeceDisk vm 0 ([byte[]](7) * 1MB)

        """;

    [Fact]
    public void A_new_image_is_mounted_by_its_own_path()
    {
        using ModuleRunspace shell = new();

        object[] disks = shell.Run("New-FleeceImage 'x[1].raw' 1MB | Mount-FleeceDisk -Name x; New-FleeceImage ./y.qcow2 1MB | Mount-FleeceDisk");

        Assert.Equal(["x", "y"], disks.Select(disk => disk.ToString()));
    }

    [Fact]
    public void A_backup_is_mounted_by_its_own_path()
    {
        using ModuleRunspace shell = new();

        object[] output = shell.Run(Vm +
            "$null = Start-FleeceSession vm; (Read-FleeceSnapshot | Export-Backup ./b.qcow2 | Mount-FleeceDisk -ReadOnly).Name; (Read-FleeceDisk b 0 1)[0]");

        Assert.Equal(["b", (byte)7], output);
    }

    [Fact]
    public void Files_are_taken_by_their_full_name_wherever_the_location_is()
    {
        using ModuleRunspace shell = new();

        ImageInfo image = shell.Run<ImageInfo>(
            "$null = New-FleeceImage ./a.raw 1MB; $file = [IO.FileInfo]::new(\"$folder/a.raw\"); $null = [IO.Directory]::CreateDirectory(\"$folder/sub\");"
            + " $null = $ExecutionContext.SessionState.Path.SetLocation(\"$folder/sub\"); $file | Get-FleeceImage");

        Assert.Equal(shell.File("a.raw"), image.Path);
    }

    [Fact]
    public void A_path_with_escaped_wildcards_means_the_file_of_that_name()
    {
        using ModuleRunspace shell = new();

        ImageInfo image = shell.Run<ImageInfo>("$null = New-FleeceImage 'x[1].raw' 1MB; Get-FleeceImage './x`[1`].raw'");

        Assert.Equal(shell.File("x[1].raw"), image.Path);
    }

    [Fact]
    public void Disks_and_sessions_are_named_by_strings_in_the_pipeline()
    {
        using ModuleRunspace shell = new();

        object[] output = shell.Run(Vm +
            """
            ('vm' | Start-FleeceSession -Name n).Id
            @('vm/n' | Get-FleeceSnapshotMap).Count
            'n' | Stop-FleeceSession
            'vm' | Dismount-FleeceDisk
            @(Get-FleeceDisk).Count
            """);

        Assert.Equal(["vm/n", 1, 0], output);
    }

    [Theory]
    [InlineData("Get-FleeceSnapshotMap vm | Clear-FleeceSnapshot -Session vm -Force")]
    [InlineData("Read-FleeceSnapshot vm | Clear-FleeceSnapshot -Force")]
    [InlineData("Get-FleeceSession vm | Clear-FleeceSnapshot -OffsetBytes 0 -LengthBytes 1MB -Force")]
    [InlineData("[pscustomobject]@{ Session = 'vm'; OffsetBytes = 0; LengthBytes = 1MB } | Clear-FleeceSnapshot -Force")]
    public void A_range_of_a_snapshot_is_cleared_by_whatever_names_it(string pipeline)
    {
        using ModuleRunspace shell = new();

        SnapshotRun run = shell.Run<SnapshotRun>(Vm + $"$null = Start-FleeceSession vm; {pipeline}; Get-FleeceSnapshotMap");

        Assert.Equal(new SnapshotRun(0, 1024 * 1024, SnapshotRunState.Consumed), run);
    }

    [Fact]
    public void Runs_of_a_map_are_not_taken_for_session_names()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm -Name a; $null = Start-FleeceSession vm -Name b");

        ErrorRecord error = shell.Reports("Get-FleeceSnapshotMap a | Clear-FleeceSnapshot");

        Assert.Equal("SessionAmbiguous,Fleece.ClearFleeceSnapshotCommand", error.FullyQualifiedErrorId);
    }

    [Fact]
    public void Chunks_that_WhatIf_kept_from_a_backup_can_still_go_into_one()
    {
        using ModuleRunspace shell = new();

        shell.Run(Vm +
            """
            $null = Start-FleeceSession vm
            $chunks = @(Read-FleeceSnapshot)
            $chunks | Export-Backup ./b.raw -WhatIf
            $null = $chunks | Export-Backup ./b.raw
            """);

        Assert.All(File.ReadAllBytes(shell.File("b.raw")), value => Assert.Equal((byte)7, value));
    }

    // The consumer says it is finished with chunks that the backup still stores; the backup has the last word.
    [Fact]
    public void A_sender_that_disposes_what_it_sent_spoils_no_backup()
    {
        using ModuleRunspace shell = new();

        shell.Run(Vm +
            """
            $null = Start-FleeceSession vm
            $null = Read-FleeceSnapshot -DiscardConsumed -ChunkSizeBytes 64KB | & { process { $_; $_.Dispose() } } | Export-Backup ./b.raw
            """);

        Assert.All(File.ReadAllBytes(shell.File("b.raw")), value => Assert.Equal((byte)7, value));
    }

    [Fact]
    public void Half_a_wildcard_completes_to_nothing_and_a_whole_one_to_names()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm);

        Assert.Empty(new DiskNameCompleter().CompleteArgument(string.Empty, string.Empty, "v[", null!, null!));
        Assert.Equal("vm", Assert.Single(new DiskNameCompleter().CompleteArgument(string.Empty, string.Empty, "*M", null!, null!)).CompletionText);
    }
}
