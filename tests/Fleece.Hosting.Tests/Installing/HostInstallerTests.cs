// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Hosting.Installing;
using Fleece.Hosting.Records;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Installing;

/// <summary>Installations into a folder that stands for the root of a system.</summary>
/// <remarks>useradd and userdel are the real ones. systemctl is a script that notes how it is called, because no systemd runs the folder:
/// the tests see the order of the calls and how a failure is undone, and nothing of what systemd does then.</remarks>
public sealed class HostInstallerTests : IDisposable
{
    private readonly TempFolder _root = new();
    private readonly TempFolder _programs = new();
    private readonly HostInstaller _installer;
    private readonly HostUnit _unit;

    public HostInstallerTests()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && PosixStat.UserId == 0, "needs root on Linux");
        Peer.Need("useradd", "userdel", "groupdel");
        Directory.CreateDirectory(_root.File("run/systemd/system"));
        Directory.CreateDirectory(_root.File("etc"));
        foreach (string file in (string[])["passwd", "group", "shadow", "gshadow"])
        {
            File.WriteAllText(_root.File($"etc/{file}"), string.Empty);
        }

        SetFailure("none");
        _installer = new HostInstaller(_root.Path, new SystemPrograms([_programs.Path, "/usr/sbin", "/usr/bin"]));
        _unit = UnitFile.In(_programs.Path, "/vm");
    }

    private string UnitPath => _root.File("etc/systemd/system/fleece.service");

    private string[] Calls => File.Exists(_programs.File("calls")) ? File.ReadAllLines(_programs.File("calls")) : [];

    public void Dispose()
    {
        _root.Dispose();
        _programs.Dispose();
    }

    [Fact]
    public async Task An_installation_makes_the_user_writes_the_unit_and_starts_the_host()
    {
        HostInstallation made = await _installer.InstallAsync(_unit, replaces: false, TestContext.Current.CancellationToken);

        Assert.Equal(_unit.ToString(), await File.ReadAllTextAsync(UnitPath, TestContext.Current.CancellationToken));
        Assert.Equal("-rw-r--r--", Mode(UnitPath));
        string user = Assert.Single(await File.ReadAllLinesAsync(_root.File("etc/passwd"), TestContext.Current.CancellationToken));
        Assert.Matches("^fleece:x:[0-9]+:[0-9]+:Fleece host:/var/lib/fleece:/usr/sbin/nologin$", user);
        Assert.StartsWith("fleece:", await File.ReadAllTextAsync(_root.File("etc/group"), TestContext.Current.CancellationToken), StringComparison.Ordinal);
        Assert.Equal(["daemon-reload", "enable fleece.service", "start fleece.service"], Calls);
        Assert.Equal((UnitPath, _unit.ToString()), (made.UnitPath, made.UnitText));
        Assert.Contains("Made the user 'fleece', and its group where it was missing.", made.Steps);
    }

    [Fact]
    public async Task A_second_installation_changes_nothing_and_starts_the_host()
    {
        await _installer.InstallAsync(_unit, replaces: false, TestContext.Current.CancellationToken);
        File.Delete(_programs.File("calls"));

        HostInstallation again = await _installer.InstallAsync(_unit, replaces: false, TestContext.Current.CancellationToken);

        Assert.Equal(["daemon-reload", "enable fleece.service", "start fleece.service"], Calls);
        Assert.DoesNotContain(again.Steps, step => step.StartsWith("Made", StringComparison.Ordinal) || step.StartsWith("Wrote", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_unit_that_differs_stays_unless_it_is_to_be_replaced()
    {
        WriteUnit("[Service]\n");

        BlockException refused = await Assert.ThrowsAsync<BlockException>(
            async () => await _installer.InstallAsync(_unit, replaces: false, TestContext.Current.CancellationToken));

        Assert.Equal(BlockErrors.AlreadyExists, refused.Kind);
        Assert.Equal("[Service]\n", await File.ReadAllTextAsync(UnitPath, TestContext.Current.CancellationToken));
        Assert.Empty(Calls);
        await _installer.InstallAsync(_unit, replaces: true, TestContext.Current.CancellationToken);
        Assert.Equal(_unit.ToString(), await File.ReadAllTextAsync(UnitPath, TestContext.Current.CancellationToken));
        Assert.Equal("restart fleece.service", Calls[^1]);
    }

    [Theory]
    [InlineData("daemon-reload")]
    [InlineData("enable")]
    [InlineData("start")]
    public async Task A_step_that_fails_leaves_the_system_as_it_was(string failing)
    {
        SetFailure(failing);

        BlockException failed = await Assert.ThrowsAsync<BlockException>(
            async () => await _installer.InstallAsync(_unit, replaces: false, TestContext.Current.CancellationToken));

        Assert.Equal(BlockErrors.IoFailed, failed.Kind);
        Assert.Contains($"'systemctl {failing}", failed.Message, StringComparison.Ordinal);
        Assert.Contains("the recorder fails", failed.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(UnitPath));
        Assert.Empty(await File.ReadAllTextAsync(_root.File("etc/passwd"), TestContext.Current.CancellationToken));
        Assert.Empty(await File.ReadAllTextAsync(_root.File("etc/group"), TestContext.Current.CancellationToken));
        if (failing == "start")
        {
            Assert.Equal(["stop fleece.service", "disable fleece.service", "daemon-reload"], Calls[^3..]);
            Assert.EndsWith("The system is as it was before.", failed.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_group_that_was_there_before_stays_when_a_step_fails()
    {
        await File.WriteAllTextAsync(_root.File("etc/group"), "fleece:x:450:\n", TestContext.Current.CancellationToken);
        SetFailure("start");

        await Assert.ThrowsAsync<BlockException>(
            async () => await _installer.InstallAsync(_unit, replaces: false, TestContext.Current.CancellationToken));

        Assert.Equal("fleece:x:450:\n", await File.ReadAllTextAsync(_root.File("etc/group"), TestContext.Current.CancellationToken));
        Assert.Empty(await File.ReadAllTextAsync(_root.File("etc/passwd"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_new_unit_that_does_not_start_gives_way_to_the_old_one()
    {
        WriteUnit("[Service]\n");
        SetFailure("restart");

        BlockException failed = await Assert.ThrowsAsync<BlockException>(
            async () => await _installer.InstallAsync(_unit, replaces: true, TestContext.Current.CancellationToken));

        Assert.Equal("[Service]\n", await File.ReadAllTextAsync(UnitPath, TestContext.Current.CancellationToken));
        Assert.Equal(["daemon-reload", "restart fleece.service"], Calls[^2..]);
        Assert.Contains("could not be undone", failed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_systemd_as_process_1_nothing_is_changed()
    {
        Directory.Delete(_root.File("run"), recursive: true);

        BlockException refused = await Assert.ThrowsAsync<BlockException>(
            async () => await _installer.InstallAsync(_unit, replaces: false, TestContext.Current.CancellationToken));

        Assert.Equal(HostErrors.NotHere, refused.Kind);
        Assert.Contains("Start-FleeceHost -StatePath /var/lib/fleece", refused.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(UnitPath));
        Assert.Empty(Calls);
    }

    [Fact]
    public async Task An_uninstallation_keeps_state_and_user()
    {
        await _installer.InstallAsync(_unit, replaces: false, TestContext.Current.CancellationToken);
        AddState();
        File.Delete(_programs.File("calls"));

        await _installer.UninstallAsync(removesState: false, removesUser: false, TestContext.Current.CancellationToken);

        Assert.False(File.Exists(UnitPath));
        Assert.Equal(["stop fleece.service", "disable fleece.service", "daemon-reload"], Calls);
        Assert.True(_installer.HasState);
        Assert.NotEmpty(await File.ReadAllTextAsync(_root.File("etc/passwd"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task An_uninstallation_removes_state_and_user_when_it_is_told_to()
    {
        await _installer.InstallAsync(_unit, replaces: false, TestContext.Current.CancellationToken);
        AddState();

        await _installer.UninstallAsync(removesState: true, removesUser: true, TestContext.Current.CancellationToken);

        Assert.False(Directory.Exists(_root.File("var/lib/fleece")));
        Assert.Empty(await File.ReadAllTextAsync(_root.File("etc/passwd"), TestContext.Current.CancellationToken));
        Assert.Empty(await File.ReadAllTextAsync(_root.File("etc/group"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_host_that_does_not_stop_keeps_its_unit()
    {
        await _installer.InstallAsync(_unit, replaces: false, TestContext.Current.CancellationToken);
        SetFailure("stop");

        await Assert.ThrowsAsync<BlockException>(
            async () => await _installer.UninstallAsync(removesState: true, removesUser: true, TestContext.Current.CancellationToken));

        Assert.True(File.Exists(UnitPath));
    }

    [Fact]
    public async Task No_host_to_uninstall_is_an_error() =>
        Assert.Equal(BlockErrors.NotFound, (await Assert.ThrowsAsync<BlockException>(
            async () => await _installer.UninstallAsync(removesState: false, removesUser: false, TestContext.Current.CancellationToken))).Kind);

    [Fact]
    public async Task The_version_of_systemd_is_asked_for()
    {
        Peer.Need("systemctl");
        HostInstaller real = new("/", SystemPrograms.Default);
        HostInstaller none = new("/", new SystemPrograms([]));

        Assert.InRange(await real.FindSystemdVersionAsync(TestContext.Current.CancellationToken), 200, 999);
        Assert.Equal(0, await none.FindSystemdVersionAsync(TestContext.Current.CancellationToken));
    }

    private void SetFailure(string verb)
    {
        string recorder = _programs.File("systemctl");
        File.WriteAllText(
            recorder,
            $"#!/bin/sh\necho \"$*\" >>'{_programs.File("calls")}'\n" +
            $"if [ \"$1\" = {verb} ]; then echo 'the recorder fails' >&2; exit 1; fi\n");
        using Process mode = Process.Start("chmod", ["755", recorder]);
        mode.WaitForExit();
    }

    private void WriteUnit(string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(UnitPath)!);
        File.WriteAllText(UnitPath, text);
    }

    private void AddState()
    {
        Directory.CreateDirectory(_root.File("var/lib/fleece"));
        File.WriteAllText(_root.File("var/lib/fleece/disks.json"), "{}");
    }

    private static string Mode(string path)
    {
        using Process process = Process.Start(new ProcessStartInfo("stat", ["-c", "%A", path]) { RedirectStandardOutput = true })!;
        return process.StandardOutput.ReadToEnd().Trim();
    }
}
