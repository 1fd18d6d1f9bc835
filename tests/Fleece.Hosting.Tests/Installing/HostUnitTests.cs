// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text.RegularExpressions;
using Fleece.Block;
using Fleece.Hosting.Installing;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Installing;

public sealed partial class HostUnitTests : IDisposable
{
    // docs/host.md states it; systemd calls 5 and less "medium" and better.
    private const double MostExposure = 2.0;

    private readonly TempFolder _folder = new();

    public HostUnitTests()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "systemd is on Linux");
        Peer.Need("systemd-analyze");
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Systemd_finds_nothing_wrong_with_the_unit()
    {
        PeerResult verdict = await UnitFile.VerifyAsync(_folder, UnitFile.In(_folder.Path, "/vm", "/srv/more images"));

        Assert.Equal(new PeerResult(0, string.Empty), verdict);
    }

    [Fact]
    public async Task Systemd_reads_every_line_of_the_unit()
    {
        HostUnit unit = UnitFile.In(_folder.Path, "/vm");
        string path = _folder.File(HostUnit.Name);
        await File.WriteAllTextAsync(
            path, unit.ToString().Replace("KillMode=mixed", "KillMode=nonsense", StringComparison.Ordinal), TestContext.Current.CancellationToken);

        PeerResult verdict = await Peer.TryRunAsync("systemd-analyze", "verify", "--man=no", path);

        Assert.Contains("nonsense", verdict.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_exposure_that_systemd_computes_stays_low()
    {
        string path = UnitFile.Write(_folder, UnitFile.In(_folder.Path, "/vm"));

        PeerResult verdict = await Peer.TryRunAsync("systemd-analyze", "security", "--offline=yes", "--no-pager", path);

        Match exposure = Exposure().Match(verdict.Output);
        Assert.True(exposure.Success, verdict.Output);
        Assert.InRange(double.Parse(exposure.Groups[1].ValueSpan, CultureInfo.InvariantCulture), 0, MostExposure);
    }

    [Theory]
    [InlineData("a b")]
    [InlineData("100%h %n")]
    [InlineData("$HOME ${USER}")]
    [InlineData("@-+!")]
    [InlineData("; rm")]
    [InlineData("größe 磁盤")]
    public async Task A_program_in_a_folder_with_a_hostile_name_is_found(string name)
    {
        string folder = Directory.CreateDirectory(_folder.File(name)).FullName;

        PeerResult verdict = await UnitFile.VerifyAsync(_folder, UnitFile.In(folder, folder));

        Assert.Equal(new PeerResult(0, string.Empty), verdict);
    }

    [Theory]
    [InlineData("it's")]
    [InlineData("\"quoted\"")]
    [InlineData("back\\slash")]
    [InlineData("two\nlines")]
    public async Task A_program_that_systemd_would_not_start_is_refused(string name)
    {
        HostUnit unit = UnitFile.In(Directory.CreateDirectory(_folder.File(name)).FullName);

        Assert.Equal(BlockErrors.InvalidArgument, Assert.Throws<BlockException>(unit.Check).Kind);
        Assert.NotEqual(0, (await UnitFile.VerifyAsync(_folder, unit)).ExitCode);
    }

    [Fact]
    public void A_module_that_PowerShell_would_not_find_is_refused() =>
        Assert.Equal(
            BlockErrors.InvalidArgument,
            Assert.Throws<BlockException>((UnitFile.In(_folder.Path) with { ModulePath = "/srv/a\\b/Fleece.psd1" }).Check).Kind);

    [Fact]
    public async Task A_program_that_is_not_there_is_noticed()
    {
        HostUnit unit = UnitFile.In(_folder.Path);
        File.Delete(unit.PowerShell.Path);

        PeerResult verdict = await UnitFile.VerifyAsync(_folder, unit);

        Assert.Contains("is not executable", verdict.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_packaged_PowerShell_is_the_service_itself()
    {
        HostUnit unit = UnitFile.In(_folder.Path) with { PowerShell = new PowerShellProgram("/opt/microsoft/powershell/7/pwsh", null) };

        Assert.Contains("\nExecStart=\"/opt/microsoft/powershell/7/pwsh\" \"-NoLogo\"", unit.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(252, false)]
    [InlineData(254, true)]
    public void The_descriptor_store_is_kept_by_name_where_systemd_knows_that(int version, bool isSaid) =>
        Assert.Equal(
            isSaid,
            (UnitFile.In(_folder.Path) with { SystemdVersion = version }).ToString()
                .Contains("FileDescriptorStorePreserve=restart", StringComparison.Ordinal));

    [Theory]
    [InlineData("/vm", "ProtectHome=yes", "PrivateDevices=yes")]
    [InlineData("/home/vm", "ProtectHome=read-only", "PrivateDevices=yes")]
    [InlineData("/dev/vg0", "ProtectHome=yes", "PrivateDevices=no")]
    public void Folders_of_images_are_not_hidden_from_the_host(string folder, string home, string devices)
    {
        string text = UnitFile.In(_folder.Path, folder).ToString();

        Assert.Contains($"\n{home}\n", text, StringComparison.Ordinal);
        Assert.Contains($"\n{devices}\n", text, StringComparison.Ordinal);
        Assert.Contains($"\nReadWritePaths=\"-{folder}\"\n", text, StringComparison.Ordinal);
    }

    [GeneratedRegex(@"exposure level for \S+: (\d+\.\d+)")]
    private static partial Regex Exposure();
}
