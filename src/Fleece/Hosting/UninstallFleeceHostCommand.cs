// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Hosting;
using Fleece.Hosting.Installing;
using Fleece.Hosting.Records;

namespace Fleece;

/// <summary>Uninstall-FleeceHost: stops the host and takes it off the system's services.</summary>
[Cmdlet(VerbsLifecycle.Uninstall, "FleeceHost", SupportsShouldProcess = true)]
[OutputType(typeof(HostInstallation))]
public sealed class UninstallFleeceHostCommand : SilentCommand
{
    /// <summary>Delete the host's state too: which disks it serves, and how.</summary>
    [Parameter]
    public SwitchParameter RemoveState { get; set; }

    /// <summary>Remove the user and the group of the host too.</summary>
    [Parameter]
    public SwitchParameter RemoveUser { get; set; }

    /// <summary>Do not ask.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    protected override void EndProcessing() => OrEnd(HostUnit.Name, () =>
    {
        if (OperatingSystem.IsWindows())
        {
            throw new BlockException(
                HostErrors.NotHere, "On Windows the host is a start-up task: run Unregister-ScheduledTask 'Fleece host' in an elevated PowerShell.");
        }

        HostInstaller installer = new("/", SystemPrograms.Default);
        installer.CheckCanUninstall();
        if (RemoveUser && !RemoveState && installer.HasState)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{HostUnit.StatePath}' holds files of the user '{HostUnit.User}', which another user could get the number of. Add -RemoveState, " +
                "or leave -RemoveUser out.",
                HostUnit.StatePath);
        }

        if (ShouldProcess(HostUnit.Path, What) && (Force || Confirms(Loss(installer.HasState))))
        {
            HostInstallation removed = Wait(installer.UninstallAsync(RemoveState, RemoveUser, StopToken));
            Pass(() => removed);
        }
    });

    private string What =>
        "Stop the host and remove the unit" +
        (RemoveState ? $", delete '{HostUnit.StatePath}'" : string.Empty) +
        (RemoveUser ? $", remove the user '{HostUnit.User}'" : string.Empty);

    private string Loss(bool hasState) =>
        "The host stops, and guests lose the disks that it serves." +
        (RemoveState && hasState ? $" The list of its disks in '{HostUnit.StatePath}' is deleted." : string.Empty);
}
