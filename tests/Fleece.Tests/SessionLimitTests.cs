// SPDX-License-Identifier: MIT
using System.Management.Automation;

namespace Fleece.Tests;

/// <summary>-CopyTimeout and -TempLimitBytes through the cmdlets: properties, warnings, and who loses.</summary>
public sealed class SessionLimitTests
{
    private const string Vm =
        """
        $null = New-FleeceImage ./vm.raw 1MB
        $null = Mount-FleeceDisk ./vm.raw
        Write-FleeceDisk vm 0 ([byte[]](7) * 1MB)

        """;

    [Fact]
    public void The_limits_are_properties_of_the_session()
    {
        using ModuleRunspace shell = new();

        object[] told = shell.Run(Vm +
            """
            $session = Start-FleeceSession vm -CopyTimeout 00:00:45 -TempLimitBytes 1MB
            Write-FleeceDisk vm 100 ([byte[]](8) * 10)
            $session.CopyTimeout, $session.TempLimitBytes, (Get-FleeceSession $session).TempUsedBytes
            """);

        Assert.Equal([TimeSpan.FromSeconds(45), 1024L * 1024, 4096L], told);
    }

    [Theory]
    [InlineData("Start-FleeceSession vm -CopyTimeout 0")]
    [InlineData("Start-FleeceSession vm -CopyTimeout ([timespan]::FromSeconds(-1))")]
    [InlineData("Start-FleeceSession vm -TempLimitBytes 4095")]
    public void A_limit_that_can_not_be_starts_nothing(string command)
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm);

        ErrorRecord error = shell.Ends(command);

        Assert.Equal("ArgumentInvalid,Fleece.StartFleeceSessionCommand", error.FullyQualifiedErrorId);
        Assert.Empty(shell.Run("Get-FleeceSession"));
        Assert.Equal(["vm.raw"], Directory.GetFiles(shell.Folder.Path).Select(Path.GetFileName));
    }

    [Fact]
    public void A_session_that_reaches_its_limit_breaks_and_says_why()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$session = Start-FleeceSession vm -TempLimitBytes 64KB; Write-FleeceDisk vm 0 ([byte[]](8) * 128KB)");

        ErrorRecord error = shell.Ends("Read-FleeceSnapshot vm");

        Assert.Equal("SessionBroken,Fleece.ReadFleeceSnapshotCommand", error.FullyQualifiedErrorId);
        Assert.Contains("-TempLimitBytes", shell.Run<string>("(Get-FleeceSession $session).BrokenBy"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_guest_that_is_refused_writes_on_when_something_was_consumed()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm +
            """
            $session = Start-FleeceSession vm -TempLimitBytes 64KB -OnCopyError BreakGuestWrite
            Write-FleeceDisk vm 0 ([byte[]](8) * 64KB)
            """);

        ErrorRecord error = shell.Reports("Write-FleeceDisk vm 512KB ([byte[]](9) * 10)");
        shell.Run("Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 64KB -Force; Write-FleeceDisk vm 512KB ([byte[]](9) * 10)");

        Assert.Equal("TempLimitReached,Fleece.WriteFleeceDiskCommand", error.FullyQualifiedErrorId);
        Assert.Equal(4096L, shell.Run<long>("(Get-FleeceSession $session).TempUsedBytes"));
    }

    [Fact]
    public void A_session_near_its_limit_comes_with_a_warning()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm -TempLimitBytes 100KB; Write-FleeceDisk vm 0 ([byte[]](8) * 76KB)");
        Assert.Empty(Warnings(shell, "Get-FleeceSession vm"));

        shell.Run("Write-FleeceDisk vm 76KB ([byte[]](8) * 4KB)");

        string warning = Assert.Single(Warnings(shell, "Get-FleeceSession vm"));
        Assert.Contains("'vm/vm' keeps 81920 bytes of old data in temp and may keep 102400", warning, StringComparison.Ordinal);
        Assert.Equal([warning], Warnings(shell, "Get-FleeceSession *"));
    }

    // The pipeline has two cmdlets that could say it, and the next one nothing new.
    [Fact]
    public void A_pipeline_is_warned_once()
    {
        using ModuleRunspace shell = new();
        shell.Run(Vm + "$null = Start-FleeceSession vm -TempLimitBytes 100KB; Write-FleeceDisk vm 0 ([byte[]](8) * 80KB)");

        Assert.Single(Warnings(shell, "Read-FleeceSnapshot vm | Export-FleeceBackup ./first.raw"));
        Assert.Empty(Warnings(shell, "Read-FleeceSnapshot vm | Export-FleeceBackup ./second.raw"));
    }

    private static string[] Warnings(ModuleRunspace shell, string script)
    {
        using PowerShell run = PowerShell.Create(shell.Runspace);
        run.AddScript(script).Invoke();
        Assert.Empty(run.Streams.Error);
        return [.. run.Streams.Warning.Select(warning => warning.Message)];
    }
}
