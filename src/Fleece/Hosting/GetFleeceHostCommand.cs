// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Hosting.Records;

namespace Fleece;

/// <summary>Get-FleeceHost: the process that owns the disks which cmdlets see.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceHost")]
[OutputType(typeof(HostInfo))]
public sealed class GetFleeceHostCommand : FleeceCommand
{
    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(null, () => WriteObject(
        FleeceModule.Host is { } host
            ? host.Describe()
            : Wait(FleeceModule.Hosts.GetInfoAsync(StopToken, SessionState.Path.CurrentFileSystemLocation.ProviderPath))));
}
