// SPDX-License-Identifier: MIT
namespace Fleece.Shell.Tests;

/// <summary>What a run of the host leaves behind.</summary>
internal sealed record ShellResult(int ExitCode, string Output, string Error)
{
    /// <summary>Asserts a run without a word of complaint and returns its output.</summary>
    public string Succeeded()
    {
        Assert.Equal("", Error);
        Assert.Equal(0, ExitCode);
        return Output;
    }
}
