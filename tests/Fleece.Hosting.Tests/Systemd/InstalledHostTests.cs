// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Hosting.Installing;

namespace Fleece.Hosting.Tests.Systemd;

/// <summary>The installed service: the unit, systemd, PowerShell, the module and QEMU are the real ones.</summary>
public sealed class InstalledHostTests
{
    [Fact]
    public async Task A_guest_that_writes_and_flushes_sees_a_pause_and_no_error_when_the_service_is_restarted()
    {
        await using InstalledHost host = await InstalledHost.StartAsync();
        await host.MountWebAsync();
        await using WritingGuest guest = WritingGuest.Start(host.StartAsGuest, InstalledHost.WebSocket, writesThrough: false);
        await guest.WriteMoreAsync(50);
        string first = await host.ShowAsync("MainPID");

        await host.Systemd.ControlAsync("restart", HostUnit.Name);
        string second = await host.ShowAsync("MainPID");
        await guest.WriteMoreAsync(50);
        await host.Systemd.ControlAsync("restart", HostUnit.Name);
        await guest.WriteMoreAsync(50);
        await guest.EndAsync();

        Assert.NotEqual(first, second);
        await AssertWrittenAsync(host, guest);
    }

    // A flush that comes after the kill covers no write that the killed process has answered (docs/host.md), hence FUA.
    [Fact]
    public async Task A_guest_that_writes_through_sees_a_pause_and_no_error_when_the_service_is_killed()
    {
        await using InstalledHost host = await InstalledHost.StartAsync();
        await host.MountWebAsync();
        await using WritingGuest guest = WritingGuest.Start(host.StartAsGuest, InstalledHost.WebSocket, writesThrough: true);
        await guest.WriteMoreAsync(50);

        await host.Systemd.ControlAsync("kill", "--signal=KILL", HostUnit.Name);
        await guest.WriteMoreAsync(50);
        await guest.EndAsync();

        Assert.Equal("1", await host.ShowAsync("NRestarts"));
        await AssertWrittenAsync(host, guest);
    }

    [Fact]
    public async Task A_client_waits_for_a_disk_that_is_missing_at_the_restart_and_is_served_when_it_is_back()
    {
        await using InstalledHost host = await InstalledHost.StartAsync();
        await host.MountWebAsync();
        await host.ShellAsync("Write-FleeceDisk web 0 ([byte[]] (,7 * 65536))");
        await host.Systemd.RunAsync("mv", InstalledHost.ImageFolder + "/web.qcow2", InstalledHost.ImageFolder + "/web.away");

        await host.Systemd.ControlAsync("restart", HostUnit.Name);
        Assert.Equal("serves 0 disks; 1 fail, see Get-FleeceHost", await host.ShowAsync("StatusText"));
        using Process client = host.StartAsGuest(
            ["qemu-io", "-f", "raw", "-r", "-c", "read -P 7 0 64k", $"nbd+unix:///web?socket={InstalledHost.WebSocket}"]);
        Task<string> said = client.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await host.Systemd.RunAsync("mv", InstalledHost.ImageFolder + "/web.away", InstalledHost.ImageFolder + "/web.qcow2");
        await host.UntilStatusAsync("serves 1 disk");

        await client.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Contains("read 65536/65536", await said, StringComparison.Ordinal);
        Assert.Equal(0, client.ExitCode);
    }

    [Fact]
    public async Task The_sandbox_holds_for_the_running_host_and_keeps_it_from_nothing_that_a_night_needs()
    {
        await using InstalledHost host = await InstalledHost.StartAsync();
        await host.MountWebAsync();
        string said = await host.ShellAsync(
            """
            $repository = "/root/night"
            $null = New-FleeceBitmap web -Name day
            Write-FleeceDisk web 0 ([byte[]] (, 9 * 65536))
            $null = Start-FleeceSession web -Bitmap day
            "read $(@(Read-FleeceSnapshot -Session web -DiscardConsumed).Count)"
            Stop-FleeceSession web
            Remove-FleeceBitmap web -Name day
            $kinds = 1..2 | ForEach-Object { (Backup-FleeceDisk web -RepositoryPath $repository).Point.Kind }
            "kept $kinds"
            "user $((Get-FleeceHost).User)"
            """);
        string process = await host.ShowAsync("MainPID");
        string status = await host.Systemd.RunAsync("cat", $"/proc/{process}/status");
        string mounts = await host.Systemd.RunAsync("cat", $"/proc/{process}/mountinfo");

        Assert.Matches("(?s)read [1-9].*kept Full Incremental.*user fleece", said);
        Assert.Matches("(?m)^Seccomp:\t2$", status);
        Assert.Matches("(?m)^NoNewPrivs:\t1$", status);
        Assert.Matches("(?m)^CapEff:\t0+$", status);
        Assert.Matches("(?m)^CapBnd:\t0+$", status);
        Assert.Matches("(?m) / ro,", mounts);
        Assert.Matches("(?m) /home ro,", mounts);
        Assert.Matches($"(?m) {InstalledHost.ImageFolder} rw,", mounts);
        Assert.Equal("yes", await host.ShowAsync("PrivateDevices"));

        await host.Systemd.ControlAsync("stop", HostUnit.Name);
        Assert.Equal("inactive", await host.ShowAsync("ActiveState"));

        await host.ShellAsync("$null = Uninstall-FleeceHost -RemoveState -RemoveUser -Force");
        await host.Systemd.RunAsync("sh", "-c", "! test -e /run/fleece && ! test -e /var/lib/fleece && ! grep -q ^fleece: /etc/passwd");
    }

    private static async Task AssertWrittenAsync(InstalledHost host, WritingGuest guest)
    {
        (string commands, int count) = guest.Comparison();
        using Process reader = host.StartAsGuest(["qemu-io", "-f", "raw", "-r", $"nbd+unix:///web?socket={InstalledHost.WebSocket}"]);
        Task<string> said = reader.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await reader.StandardInput.WriteAsync(commands);
        reader.StandardInput.Close();
        string text = await said;
        await reader.WaitForExitAsync(TestContext.Current.CancellationToken);

        Assert.DoesNotContain("failed", text, StringComparison.Ordinal);
        Assert.Equal(count, text.Split("read 65536/65536").Length - 1);
    }
}
