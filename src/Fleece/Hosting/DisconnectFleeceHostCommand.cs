// SPDX-License-Identifier: MIT
using System.Management.Automation;

namespace Fleece;

/// <summary>Disconnect-FleeceHost: this process leaves the host that it was connected to.</summary>
[Cmdlet(VerbsCommunications.Disconnect, "FleeceHost")]
public sealed class DisconnectFleeceHostCommand : FleeceCommand
{
    /// <inheritdoc/>
    protected override void ProcessRecord() => OrEnd(null, () =>
    {
        if (Wait(FleeceModule.Hosts.DisconnectAsync()) is null)
        {
            WriteVerbose("This process was connected to no host with Connect-FleeceHost.");
        }
    });
}
