// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Sessions;

namespace Fleece;

/// <summary>Stop-FleeceSession: ends sessions and deletes their temp files.</summary>
[Cmdlet(VerbsLifecycle.Stop, "FleeceSession", SupportsShouldProcess = true)]
public sealed class StopFleeceSessionCommand : FleeceCommand
{
    /// <summary>Names, "DISK/NAME", or the sessions.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true)]
    [ArgumentCompleter(typeof(SessionNameCompleter))]
    [Alias("Session")]
    public string[] Name { get; set; } = [];

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (string name in Name)
        {
            ForItem(name, () =>
            {
                Session session = Disks.FindSession(name);
                if (ShouldProcess(session.Id, "Stop"))
                {
                    Wait(new ValueTask(session.StopAsync()));
                }
            });
        }
    }
}
