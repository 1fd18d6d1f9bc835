// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Hosting;
using Fleece.Hosting.Records;

namespace Fleece;

/// <summary>Connect-FleeceHost: this process uses a host from now on.</summary>
[Cmdlet(VerbsCommunications.Connect, "FleeceHost")]
[OutputType(typeof(HostInfo))]
public sealed class ConnectFleeceHostCommand : FleeceCommand
{
    /// <summary>The host's control socket; that of an installed host when left out.</summary>
    [Parameter(Position = 0)]
    [ValidateNotNullOrEmpty]
    [NoScriptBlock]
    public string? SocketPath { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => OrEnd(SocketPath, () =>
    {
        if (FleeceModule.Host is { } host)
        {
            throw new BlockException(
                HostErrors.NotHere,
                $"This process is the Fleece host at '{host.Describe().SocketPath}', and uses no other. Connect from another PowerShell.");
        }

        WriteObject(Wait(FleeceModule.Hosts.ConnectAsync(SocketPath is null ? null : ResolveLiteral(SocketPath), StopToken)));
    });
}
