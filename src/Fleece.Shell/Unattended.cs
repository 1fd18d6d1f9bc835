// SPDX-License-Identifier: MIT
using System.Management.Automation;
using System.Management.Automation.Host;

namespace Fleece.Shell;

/// <summary>The one error for what only a person at a full PowerShell prompt could answer.</summary>
internal static class Unattended
{
    /// <summary>Says what was asked for and how to do without.</summary>
    public static HostException Refuse(string what) => new(
        $"{what} is not available: {ShellHost.ProgramName} runs scripts unattended. Pass the value as an argument.",
        innerException: null,
        "NotInteractive",
        ErrorCategory.NotImplemented);
}
