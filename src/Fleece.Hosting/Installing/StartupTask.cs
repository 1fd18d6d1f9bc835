// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Hosting.Installing;

/// <summary>The start-up task by which Windows runs the host.</summary>
internal static class StartupTask
{
    /// <summary>The commands that register the task and start it, for an elevated PowerShell.</summary>
    /// <param name="powerShell">What runs PowerShell.</param>
    /// <param name="modulePath">The module's manifest.</param>
    /// <param name="imageFolders">Folders whose images the host may open.</param>
    public static string Commands(PowerShellProgram powerShell, string modulePath, IReadOnlyList<string> imageFolders)
    {
        string allowed = imageFolders.Count == 0
            ? string.Empty
            : $" -AllowedPath {string.Join(", ", imageFolders.Select(PowerShellText.Literal))}";
        string command =
            $"$ErrorActionPreference = 'Stop'; Import-Module {PowerShellText.Literal(modulePath)}; " +
            $"Start-FleeceHost -StatePath (Join-Path $env:ProgramData Fleece\\state) " +
            "-SocketPath (Join-Path $env:ProgramData Fleece\\host.sock)" +
            allowed;
        // A path of Windows holds no quotation mark, and the command has none of its own.
        string arguments = (powerShell.Assembly is null ? string.Empty : $"\"{powerShell.Assembly}\" ") +
            $"-NoLogo -NoProfile -NonInteractive -Command \"{command}\"";
        return $"""
            $action = New-ScheduledTaskAction -Execute {PowerShellText.Literal(powerShell.Path)} `
                -Argument {PowerShellText.Literal(arguments)}
            $settings = New-ScheduledTaskSettingsSet -ExecutionTimeLimit 0 -RestartCount 3 -RestartInterval (New-TimeSpan -Minutes 1)
            Register-ScheduledTask -TaskName 'Fleece host' -Action $action -Trigger (New-ScheduledTaskTrigger -AtStartup) `
                -User 'NT AUTHORITY\LOCAL SERVICE' -Settings $settings
            Start-ScheduledTask -TaskName 'Fleece host'

            """;
    }
}
