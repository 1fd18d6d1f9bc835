// SPDX-License-Identifier: MIT
namespace Fleece.Shell.Tests;

/// <summary>
/// Goal: standard output carries what the script outputs and nothing else. Method: scripts that use every stream.
/// </summary>
public sealed class StreamTests
{
    [Fact]
    public async Task Objects_are_formatted_as_tables()
    {
        ShellResult result = await ShellProcess.RunScript("[pscustomobject]@{ Name = 'vm'; GiB = 40 }");

        string[] lines = result.Succeeded().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["Name GiB", "---- ---", "vm    40"], lines);
    }

    [Fact]
    public async Task Progress_leaves_standard_output_alone()
    {
        ShellResult result = await ShellProcess.RunScript("""
            for ($i = 0; $i -lt 100; $i++) {
                $record = [System.Management.Automation.ProgressRecord]::new(1, 'Backing up', "$i of 100")
                $record.PercentComplete = $i
                $Host.UI.WriteProgress(1, $record)
            }
            'done'
            """);

        // A slow machine shows some of it on standard error.
        Assert.Equal((0, "done\n"), (result.ExitCode, result.Output));
    }

    [Fact]
    public async Task Messages_go_to_standard_error()
    {
        ShellResult result = await ShellProcess.RunScript("""
            function Speak {
                [CmdletBinding()] param()
                $PSCmdlet.WriteWarning('w'); $PSCmdlet.WriteVerbose('v'); $PSCmdlet.WriteDebug('d')
            }
            $DebugPreference = 'Continue'
            Speak -Verbose
            'output'
            """);

        Assert.Equal(0, result.ExitCode);
        Assert.Equal("output\n", result.Output);
        Assert.Equal("WARNING: w\nVERBOSE: v\nDEBUG: d\n", result.Error);
    }

    [Fact]
    public async Task No_escape_sequence_reaches_a_pipe()
    {
        ShellResult result = await ShellProcess.RunScript("""
            [pscustomobject]@{ Name = 'vm' }
            "`e[31mred`e[0m"
            throw 'no'
            """);

        Assert.DoesNotContain('\e', result.Output);
        Assert.DoesNotContain('\e', result.Error);
    }

    [Fact]
    public async Task Bytes_on_standard_output_pass_unchanged()
    {
        ShellResult result = await ShellProcess.RunScript("""
            $out = [Console]::OpenStandardOutput()
            $out.Write([byte[]](65, 10, 66), 0, 3)
            $out.Dispose()
            """);

        Assert.Equal("A\nB", result.Succeeded());
    }

    [Fact]
    public async Task A_question_without_anybody_to_answer_is_an_error()
    {
        ShellResult result = await ShellProcess.RunScript("""
            function Overwrite {
                [CmdletBinding(SupportsShouldProcess, ConfirmImpact = 'High')] param()
                if ($PSCmdlet.ShouldProcess('vm.raw')) { 'overwritten' }
            }
            Overwrite -Confirm:$false
            Overwrite
            """);

        Assert.Equal("overwritten\n", result.Output);
        Assert.Contains("unattended", result.Error, StringComparison.Ordinal);
    }
}
