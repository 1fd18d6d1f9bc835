// SPDX-License-Identifier: MIT
namespace Fleece.Shell.Tests;

/// <summary>Goal: a caller can trust the exit code. Method: one script for every way to end.</summary>
public sealed class ExitCodeTests
{
    [Fact]
    public async Task Exit_returns_its_number_from_any_depth()
    {
        ShellResult result = await ShellProcess.RunScript("function Leave { & { exit 9 } }\n'before'\nLeave\n'after'");

        Assert.Equal(9, result.ExitCode);
        Assert.Equal("before\n", result.Output);
        Assert.Equal("", result.Error);
    }

    [Fact]
    public async Task The_code_of_a_native_program_counts_only_when_the_script_passes_it_on()
    {
        const string native = "& dotnet no-such-command *>$null\n";

        Assert.Equal(0, (await ShellProcess.RunScript(native + "'end'")).ExitCode);
        Assert.NotEqual(0, (await ShellProcess.RunScript(native + "exit $LASTEXITCODE")).ExitCode);
    }

    [Fact]
    public async Task Exit_in_a_called_script_ends_only_that_script()
    {
        using var shell = new ShellProcess();
        shell.Save("inner.ps1", "exit 4");

        ShellResult result = await shell.Run(shell.Save("outer.ps1", "./inner.ps1\n\"inner $LASTEXITCODE\""));

        Assert.Equal("inner 4\n", result.Succeeded());
    }

    [Fact]
    public async Task A_throw_returns_one_and_says_what_and_where()
    {
        ShellResult result = await ShellProcess.RunScript("""
            'before'
            function Fail { throw 'the disk is gone' }
            Fail
            'after'
            """);

        Assert.Equal(1, result.ExitCode);
        Assert.Equal("before\n", result.Output);
        Assert.Contains("the disk is gone", result.Error, StringComparison.Ordinal);
        Assert.Contains("script.ps1:2", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_script_that_does_not_parse_returns_one_and_says_where()
    {
        ShellResult result = await ShellProcess.RunScript("'never'\nif (");

        Assert.Equal(1, result.ExitCode);
        Assert.Equal("", result.Output);
        Assert.Contains("script.ps1:2", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_error_that_is_only_reported_lets_the_script_go_on()
    {
        ShellResult result = await ShellProcess.RunScript("""
            function Complain {
                [CmdletBinding()] param()
                $PSCmdlet.WriteError([System.Management.Automation.ErrorRecord]::new(
                    [Exception]::new('no such disk'), 'NoDisk', 'ObjectNotFound', 'vm'))
            }
            Complain
            'after'
            """);

        Assert.Equal(0, result.ExitCode);
        Assert.Equal("after\n", result.Output);
        Assert.Contains("no such disk", result.Error, StringComparison.Ordinal);
        Assert.Contains("script.ps1:6", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_script_that_does_not_exist_returns_66_and_is_named()
    {
        ShellResult result = await ShellProcess.RunWords("nowhere.ps1");

        Assert.Equal(66, result.ExitCode);
        Assert.Contains("nowhere.ps1' does not exist", result.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("no script was given")]
    [InlineData("'--verbose' is not an option", "--verbose", "script.ps1")]
    [InlineData("'disk.raw' is not a PowerShell script", "disk.raw")]
    public async Task A_wrong_command_line_returns_64_and_the_usage(string complaint, params string[] words)
    {
        ShellResult result = await ShellProcess.RunWords(words);

        Assert.Equal(64, result.ExitCode);
        Assert.Equal("", result.Output);
        Assert.Contains(complaint, result.Error, StringComparison.Ordinal);
        Assert.Contains("usage:", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_is_output_and_a_success()
    {
        ShellResult result = await ShellProcess.RunWords("--help");

        Assert.Contains("usage:", result.Succeeded(), StringComparison.Ordinal);
    }
}
