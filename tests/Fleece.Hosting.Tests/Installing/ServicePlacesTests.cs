// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block;
using Fleece.Hosting.Installing;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Installing;

public sealed class ServicePlacesTests
{
    [Theory]
    [InlineData("/root/.nuget/packages/fleece/0.1.0/Fleece.psd1", "cache")]
    [InlineData("/opt/tools/.store/powershell/7.6.9/powershell/7.6.9/tools/net10.0/any/unix/pwsh.dll", "cache")]
    [InlineData("/srv/packages/powershell/pwsh.dll", "cache")]
    [InlineData("/home/kim/fleece/Fleece.psd1", "home folder")]
    [InlineData("/var/kim/fleece/Fleece.psd1", "home folder")]
    [InlineData("/tmp/fleece/Fleece.psd1", "temporary")]
    [InlineData("/opt/../home/kim/Fleece.psd1", "home folder")]
    public void A_file_that_may_go_or_change_any_day_is_no_part_of_a_service(string path, string reason) =>
        Assert.Contains(reason, ServicePlaces.WhyNot(path, "/var/kim", "/srv/packages"), StringComparison.Ordinal);

    [Theory]
    [InlineData("/opt/microsoft/powershell/7/pwsh")]
    [InlineData("/usr/local/share/powershell/Modules/Fleece/0.1.0/Fleece.psd1")]
    [InlineData("/homes/Fleece.psd1")]
    public void A_file_of_the_system_may_be_one(string path) => Assert.Null(ServicePlaces.WhyNot(path, "/root", null));

    [Fact]
    public void A_refusal_says_how_to_name_the_file_all_the_same()
    {
        BlockException refused = Assert.Throws<BlockException>(
            () => ServicePlaces.Check("/tmp/Fleece.psd1", "The module", "Name it with -ModulePath."));

        Assert.Equal(HostErrors.PathRefused, refused.Kind);
        Assert.Contains("The module '/tmp/Fleece.psd1' lies in", refused.Message, StringComparison.Ordinal);
        Assert.EndsWith("Name it with -ModulePath.", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("vm")]
    [InlineData("/")]
    [InlineData("/tmp")]
    [InlineData("/var/tmp/vm")]
    [InlineData("/no/such/folder")]
    public void A_folder_of_images_that_the_host_would_not_see_is_refused(string path) =>
        Assert.Equal(BlockErrors.InvalidArgument, Assert.Throws<BlockException>(() => ServicePlaces.CheckImageFolder(path)).Kind);

    [Fact]
    public void A_tool_of_dotnet_is_run_by_dotnet_and_a_packaged_PowerShell_by_itself()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "the programs have other names and permissions there");
        using TempFolder folder = new();
        File.WriteAllText(folder.File("pwsh.dll"), string.Empty);

        PowerShellProgram tool = PowerShellProgram.Find(folder.Path, "/usr/lib/dotnet/dotnet");
        File.WriteAllText(folder.File("pwsh"), string.Empty);
        PowerShellProgram toolWithItsOwn = FindWithMode("744");
        PowerShellProgram packaged = FindWithMode("755");

        Assert.Equal(new PowerShellProgram("/usr/lib/dotnet/dotnet", folder.File("pwsh.dll")), tool);
        Assert.Equal(tool, toolWithItsOwn);
        Assert.Equal(new PowerShellProgram(folder.File("pwsh"), null), packaged);

        PowerShellProgram FindWithMode(string mode)
        {
            Process.Start("chmod", [mode, folder.File("pwsh")]).WaitForExit();
            return PowerShellProgram.Find(folder.Path, "/usr/lib/dotnet/dotnet");
        }
    }

    [Fact]
    public void A_PowerShell_that_is_not_there_is_an_error() =>
        Assert.Equal(BlockErrors.InvalidArgument, Assert.Throws<BlockException>(() => PowerShellProgram.Find("/no/pwsh", null)).Kind);
}
