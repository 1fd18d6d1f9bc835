// SPDX-License-Identifier: MIT
namespace Fleece.Shell.Tests;

/// <summary>Goal: a param block sees what PowerShell itself would pass. Method: scripts that print it.</summary>
public sealed class ArgumentTests
{
    private const string Script = """
        param([Parameter(Mandatory)][string] $Path, [int] $Count = 3, [switch] $Fast)
        "$Path|$Count|$Fast"
        """;

    [Theory]
    [InlineData("disk.raw|3|False", "disk.raw")]
    [InlineData("disk.raw|5|False", "disk.raw", "5")]
    [InlineData("disk.raw|5|True", "-Path", "disk.raw", "-Fast", "-Count", "5")]
    [InlineData("disk.raw|5|True", "-Fast", "disk.raw", "5")]
    [InlineData("disk.raw|5|False", "-path:disk.raw", "-Fast:$false", "-Count:5")]
    [InlineData("disk.raw|3|True", "-Path:", "disk.raw", "-Fast:", "true")]
    [InlineData("disk.raw|-7|False", "disk.raw", "-7")]
    [InlineData("a b * [1] 'c' \"d\" $e|3|False", "-Path", "a b * [1] 'c' \"d\" $e")]
    [InlineData("C:\\vm.vhdx|3|False", "C:\\vm.vhdx")]
    [InlineData("nbd://host:10809/vm|3|False", "-Path:nbd://host:10809/vm")]
    public async Task Words_become_parameters_as_in_PowerShell(string expected, params string[] words)
    {
        ShellResult result = await ShellProcess.RunScript(Script, words);

        Assert.Equal(expected + "\n", result.Succeeded());
    }

    [Fact]
    public async Task Without_a_param_block_all_words_are_in_args()
    {
        ShellResult result = await ShellProcess.RunScript("$args -join '|'", "one", "-two", "3", "--", "-");

        Assert.Equal("one|-two|3|--|-\n", result.Succeeded());
    }

    [Fact]
    public async Task A_missing_mandatory_parameter_is_an_error_and_not_a_question()
    {
        ShellResult result = await ShellProcess.RunScript(Script);

        Assert.Equal(1, result.ExitCode);
        Assert.Contains("mandatory parameters: Path", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_value_of_the_wrong_type_names_its_parameter()
    {
        ShellResult result = await ShellProcess.RunScript(Script, "disk.raw", "-Count", "many");

        Assert.Equal(1, result.ExitCode);
        Assert.Contains("parameter 'Count'", result.Error, StringComparison.Ordinal);
    }
}
