// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Records;

namespace Fleece.Tests;

/// <summary>Several points in time at once, limits on what they show, and what they give back when they are consumed.</summary>
public sealed class ManySessionsTests
{
    private const string Vm = "$null = New-FleeceImage ./vm.raw 1MB; $null = Mount-FleeceDisk ./vm.raw\n";

    [Theory]
    [InlineData("1, 2, 3")]
    [InlineData("1, 3, 2")]
    [InlineData("2, 1, 3")]
    [InlineData("2, 3, 1")]
    [InlineData("3, 1, 2")]
    [InlineData("3, 2, 1")]
    public void Sessions_of_one_disk_show_their_own_instants_until_they_stop_in_any_order(string order)
    {
        using ModuleRunspace shell = new();

        object[] output = shell.Run(Vm +
            $$"""
            foreach ($n in 1, 2, 3) {
                Write-FleeceDisk vm 0 ([byte[]]($n) * 1MB)
                $null = Start-FleeceSession vm -Name "s$n"
            }
            Write-FleeceDisk vm 0 ([byte[]](4) * 1MB)
            foreach ($stopped in {{order}}) {
                foreach ($session in Get-FleeceSession) {
                    foreach ($chunk in Read-FleeceSnapshot $session) {
                        $expected = [byte] "$($session.Name)".Substring(1)
                        if (-not [Linq.Enumerable]::SequenceEqual[byte]($chunk.Data, [byte[]]($expected) * $chunk.LengthBytes)) { "wrong bytes in $chunk" }
                    }
                }
                Stop-FleeceSession "s$stopped"
                Write-FleeceDisk vm 0 ([byte[]](5) * 1MB)
            }
            @(Get-FleeceSession).Count
            """);

        Assert.Equal([0], output);
        Assert.Equal([shell.File("vm.raw")], Directory.GetFiles(shell.Folder.Path));
    }

    [Fact]
    public void Nothing_outside_the_ranges_is_copied()
    {
        using ModuleRunspace shell = new();

        long copiedBytes = shell.Run<long>(Vm +
            "Write-FleeceDisk vm 0 ([byte[]](1) * 1MB); $s = Start-FleeceSession vm -Range @{ OffsetBytes = 64KB; LengthBytes = 4KB };"
            + " Write-FleeceDisk vm 0 ([byte[]](2) * 1MB); (Get-FleeceSession $s).CopiedBytes");

        Assert.Equal(4096, copiedBytes);
    }

    [Fact]
    public void What_is_consumed_leaves_the_map_and_gives_temp_its_space_back()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "the blocks of an open file are counted with stat");
        using ModuleRunspace shell = new();
        SessionInfo session = shell.Run<SessionInfo>(Vm +
            "Write-FleeceDisk vm 0 ([byte[]](1) * 1MB); Start-FleeceSession vm; Write-FleeceDisk vm 0 ([byte[]](2) * 1MB)");
        long before = AllocatedBytes(session.TempPath);

        shell.Run("$null = Read-FleeceSnapshot -DiscardConsumed | Export-Backup ./b.raw");

        Assert.InRange(before, 1024 * 1024, long.MaxValue);
        Assert.InRange(AllocatedBytes(session.TempPath), 0, 64 * 1024);
        Assert.Equal([new SnapshotRun(0, 1024 * 1024, SnapshotRunState.Consumed)], shell.Run("Get-FleeceSnapshotMap"));
    }

    [Fact]
    public void A_guest_write_over_consumed_data_is_not_copied_again()
    {
        using ModuleRunspace shell = new();

        long copiedBytes = shell.Run<long>(Vm +
            """
            Write-FleeceDisk vm 0 ([byte[]](1) * 1MB)
            $session = Start-FleeceSession vm
            $null = Read-FleeceSnapshot -DiscardConsumed | Export-Backup ./b.raw
            Write-FleeceDisk vm 0 ([byte[]](2) * 1MB)
            (Get-FleeceSession $session).CopiedBytes
            """);

        Assert.Equal(0, copiedBytes);
    }

    [Theory]
    [InlineData("./missing.raw")]
    [InlineData("./wtemp.raw")]
    public void A_session_that_one_of_two_disks_refuses_starts_on_neither(string tempPath)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = New-FleeceImage ./w.raw 2MB; $null = Mount-FleeceDisk ./w.raw; $null = New-FleeceImage ./wtemp.raw 1MB");
        string[] before = Directory.GetFiles(shell.Folder.Path);

        shell.Ends($"Start-FleeceSession vm, w -TempPath '{tempPath}'");

        Assert.Empty(shell.Run("Get-FleeceSession"));
        Assert.Equal(before.Order(), Directory.GetFiles(shell.Folder.Path).Order());
    }

    private static long AllocatedBytes(string path)
    {
        using Process stat = Process.Start(new ProcessStartInfo("stat", ["-c", "%b", path]) { RedirectStandardOutput = true })!;
        string blocks = stat.StandardOutput.ReadToEnd();
        stat.WaitForExit();
        return long.Parse(blocks, CultureInfo.InvariantCulture) * 512;
    }
}
