// SPDX-License-Identifier: MIT
using System.Management.Automation;
using System.Management.Automation.Language;
using Fleece.Block;
using Fleece.Hosting.Installing;
using Fleece.Qemu.Guard;

namespace Fleece;

/// <summary>The program that stands by while a guest is frozen or paused: another process of this PowerShell.</summary>
internal static class GuardPrograms
{
    /// <summary>Finds it.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: this process runs in a program of its own, and no
    /// PowerShell is beside it.</exception>
    public static GuardProgram Find()
    {
        // The folder that $PSHOME names.
        string home = Path.GetDirectoryName(typeof(PSCmdlet).Assembly.Location)!;
        PowerShellProgram powerShell = PowerShellProgram.Find(home, Environment.ProcessPath);
        string library = CodeGeneration.EscapeSingleQuotedStringContent(typeof(GuardProcess).Assembly.Location);
        // The guard reads standard input and writes standard output: PowerShell must leave both alone.
        string script =
            $"$null = [Reflection.Assembly]::LoadFrom('{library}'); $null = [{typeof(GuardProcess)}]::RunAsync().GetAwaiter().GetResult()";
        string[] arguments = ["-NoLogo", "-NoProfile", "-NonInteractive", "-InputFormat", "None", "-Command", script];
        return new GuardProgram(powerShell.Path, powerShell.Assembly is { } assembly ? [assembly, .. arguments] : arguments);
    }
}
