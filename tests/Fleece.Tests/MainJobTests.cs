// SPDX-License-Identifier: MIT
using Fleece.Backups.Records;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Records;
using Fleece.Images;

namespace Fleece.Tests;

public sealed class MainJobTests
{
    private const string VmWithData =
        """
        $null = New-FleeceImage "$folder/vm.{0}" -SizeBytes 2MB
        $null = Mount-FleeceDisk "$folder/vm.{0}"
        $old = [byte[]]::new(1MB); [Random]::new(7).NextBytes($old)
        Write-FleeceDisk vm 64KB $old

        """;

    [Theory]
    [InlineData("raw", "raw")]
    [InlineData("raw", "qcow2")]
    [InlineData("qcow2", "raw")]
    [InlineData("qcow2", "qcow2")]
    public void The_backup_is_the_disk_as_it_was_when_the_session_started(string diskFormat, string backupFormat)
    {
        using ModuleRunspace shell = new();
        object[] output = shell.Run(Vm(diskFormat) +
            $$"""
            $null = Start-FleeceSession vm
            Write-FleeceDisk vm 100KB ([byte[]]::new(200KB))
            Read-FleeceSnapshot -DiscardConsumed | Export-Backup -DestinationPath "$folder/b.{{backupFormat}}"
            Stop-FleeceSession vm
            $null = Mount-FleeceDisk "$folder/b.{{backupFormat}}" -ReadOnly
            , $old
            Read-FleeceDisk b 64KB 1MB
            Read-FleeceDisk b 0 64KB
            """);

        BackupInfo backup = Assert.IsType<BackupInfo>(output[0]);
        Assert.Equal((byte[])output[1], (byte[])output[2]);
        Assert.Equal(new byte[64 * 1024], (byte[])output[3]);
        Assert.Equal(shell.File($"b.{backupFormat}"), backup.Path);
        Assert.Equal(2 * 1024 * 1024, backup.SizeBytes);
        Assert.Equal(backup.SizeBytes, backup.DataBytes + backup.ZeroBytes);
    }

    [Fact]
    public void Without_a_name_the_only_session_is_meant()
    {
        using ModuleRunspace shell = new();

        long lengthBytes = shell.Run<long>(Vm() +
            "$null = Start-FleeceSession vm -Name nightly; $sum = 0L; Read-FleeceSnapshot | & { process { $sum += $_.LengthBytes } end { $sum } }");

        Assert.Equal(2 * 1024 * 1024, lengthBytes);
    }

    [Fact]
    public void A_session_limited_to_ranges_reads_those_and_nothing_else()
    {
        using ModuleRunspace shell = new();

        object[] output = shell.Run(Vm() +
            """
            $ranges = @{ OffsetBytes = 128KB; LengthBytes = 4KB }, [pscustomobject]@{ OffsetBytes = 1MB; LengthBytes = 1 }
            $null = Start-FleeceSession vm -Range $ranges
            Read-FleeceSnapshot | & { process { $_.OffsetBytes; $_.LengthBytes } }
            """);

        Assert.Equal([128 * 1024L, 4096L, 1024 * 1024L, 4096L], output);
    }

    [Fact]
    public void The_runs_of_a_map_are_ranges_for_the_next_session()
    {
        using ModuleRunspace shell = new();

        object[] output = shell.Run(Vm() +
            """
            $null = Start-FleeceSession vm -Name first
            Write-FleeceDisk vm 256KB ([byte[]]::new(64KB))
            $copied = Get-FleeceSnapshotMap vm/first | & { process { if ($_.State -eq 'Copied') { $_ } } }
            $null = Start-FleeceSession vm -Name second -Range $copied
            Get-FleeceSnapshotMap vm/second
            """);

        Assert.Equal(
            [
                new SnapshotRun(0, 256 * 1024, SnapshotRunState.Denied),
                new SnapshotRun(256 * 1024, 64 * 1024, SnapshotRunState.Untouched),
                new SnapshotRun(320 * 1024, (2048 - 320) * 1024, SnapshotRunState.Denied),
            ],
            output.Cast<SnapshotRun>());
    }

    [Fact]
    public void Clearing_a_range_consumes_its_whole_granules()
    {
        using ModuleRunspace shell = new();

        object[] output = shell.Run(Vm() +
            """
            $null = Start-FleeceSession vm
            Clear-FleeceSnapshot -OffsetBytes 1 -LengthBytes 8191 -Force
            Clear-FleeceSnapshot vm -OffsetBytes (2MB - 5000) -LengthBytes 5000 -Force
            Get-FleeceSnapshotMap
            """);

        Assert.Equal(
            [(0L, SnapshotRunState.Untouched), (4096L, SnapshotRunState.Consumed), (8192L, SnapshotRunState.Untouched),
                ((2048 * 1024L) - 4096, SnapshotRunState.Consumed)],
            output.Cast<SnapshotRun>().Select(run => (run.OffsetBytes, run.State)));
    }

    [Fact]
    public void A_range_list_that_turns_out_empty_gives_a_session_without_anything_to_read()
    {
        using ModuleRunspace shell = new();

        object[] output = shell.Run(Vm() + "$null = Start-FleeceSession vm -Range (& { }); (Get-FleeceSnapshotMap).State");

        Assert.Equal([SnapshotRunState.Denied], output);
    }

    [Fact]
    public void Runs_of_a_map_can_be_piped_into_a_discard()
    {
        using ModuleRunspace shell = new();

        object[] output = shell.Run(Vm() +
            "$null = Start-FleeceSession vm; Get-FleeceSnapshotMap | Clear-FleeceSnapshot -Force; (Get-FleeceSnapshotMap).State");

        Assert.Equal([SnapshotRunState.Consumed], output);
    }

    [Fact]
    public void A_session_of_another_disk_is_not_found_on_this_one()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm() + "$null = New-FleeceImage ./w.raw 1MB; $null = Mount-FleeceDisk ./w.raw; $null = Start-FleeceSession w -Name n");

        Assert.Equal(
            "SessionNotFound,Fleece.GetFleeceSessionCommand",
            shell.Reports("Get-FleeceSession n -Disk vm").FullyQualifiedErrorId);
    }

    [Fact]
    public void A_stopped_session_object_does_not_stand_for_a_newer_one_of_its_name()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm() + "$old = Start-FleeceSession vm; Stop-FleeceSession $old; $null = Start-FleeceSession vm");

        Assert.Equal(
            "RecordStale,Fleece.StopFleeceSessionCommand", shell.Reports("Stop-FleeceSession $old").FullyQualifiedErrorId);
        Assert.Single(shell.Run("Get-FleeceSession"));
    }

    [Fact]
    public void Objects_stand_where_names_are_wanted()
    {
        using ModuleRunspace shell = new();

        object[] output = shell.Run(
            """
            $null = New-FleeceImage "$folder/a.raw" 1MB
            $null = New-FleeceImage "$folder/b.raw" 1MB
            $disks = Mount-FleeceDisk "$folder/*.raw"
            $sessions = $disks | Start-FleeceSession -Name nightly
            $disks[0].Name; $sessions[1].Id; ($sessions[0].StartedAt -eq $sessions[1].StartedAt)
            Get-FleeceSession b/nightly | Read-FleeceSnapshot | & { process { $_.Session } }
            Get-FleeceSession | Stop-FleeceSession
            $disks | Dismount-FleeceDisk
            @(Get-FleeceDisk).Count
            """);

        Assert.Equal(["a", "b/nightly", true, "b/nightly", 0], output);
    }

    [Fact]
    public void Paths_are_relative_to_the_location_and_wildcards_and_literal_paths_work()
    {
        using ModuleRunspace shell = new();

        object[] output = shell.Run(
            """
            $null = New-FleeceImage ./a.raw 1MB
            $null = New-FleeceImage 'x[1].raw' 1MB
            Get-FleeceImage *.raw
            Get-FleeceImage -LiteralPath 'x[1].raw'
            [IO.FileInfo]::new("$folder/a.raw") | Get-FleeceImage
            """);

        Assert.Equal(
            [shell.File("a.raw"), shell.File("x[1].raw"), shell.File("x[1].raw"), shell.File("a.raw")],
            output.Cast<ImageInfo>().Select(image => image.Path));
    }

    [Fact]
    public void WhatIf_changes_nothing()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm() + "$null = Start-FleeceSession vm");

        shell.Run(
            """
            New-FleeceImage ./new.raw 1MB -WhatIf
            Mount-FleeceDisk ./new.raw -WhatIf
            Start-FleeceSession vm -Name other -WhatIf
            Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB -WhatIf
            Read-FleeceSnapshot vm -DiscardConsumed | Export-Backup ./b.raw -WhatIf
            Stop-FleeceSession vm -WhatIf
            Dismount-FleeceDisk vm -Force -WhatIf
            """);

        Assert.Equal(0, shell.Run<SessionInfo>("Get-FleeceSession").ConsumedBytes);
        Assert.DoesNotContain(Directory.GetFiles(shell.Folder.Path), path => path.EndsWith("new.raw", StringComparison.Ordinal) ||
            Path.GetFileName(path).StartsWith("b.raw", StringComparison.Ordinal));
    }

    [Fact]
    public void Chunks_that_are_kept_stay_valid_while_later_ones_are_read()
    {
        using ModuleRunspace shell = new();

        bool equal = shell.Run<bool>(Vm() +
            """
            $null = Start-FleeceSession vm
            $chunks = @(Read-FleeceSnapshot -ChunkSizeBytes 64KB -OffsetBytes 64KB -LengthBytes 1MB)
            Write-FleeceDisk vm 0 ([byte[]]::new(2MB))
            $same = $chunks.Count -eq 16
            foreach ($chunk in $chunks) {
                $part = [ArraySegment[byte]]::new($old, $chunk.OffsetBytes - 64KB, $chunk.LengthBytes)
                $same = $same -and [Linq.Enumerable]::SequenceEqual[byte]($chunk.Data, $part)
            }
            $same
            """);

        Assert.True(equal);
    }

    private static string Vm(string format = "raw") => VmWithData.Replace("{0}", format, StringComparison.Ordinal);
}
