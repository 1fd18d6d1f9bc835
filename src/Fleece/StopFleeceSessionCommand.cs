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

    /// <summary>
    /// What was to be read has been read: the session's bitmap then holds what was recorded since the instant, instead of having it
    /// added.
    /// </summary>
    [Parameter]
    public SwitchParameter Success { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (string name in Name)
        {
            ForItem(name, () =>
            {
                Session session = Disks.FindSession(name);
                if (!ShouldProcess(session.Id, "Stop"))
                {
                    return;
                }

                if (Success && session.State == Block.CopyBeforeWrite.SessionState.Broken && session.Bitmap is { } bitmap)
                {
                    WriteWarning(
                        $"The session '{session.Id}' is broken, so the bitmap '{bitmap.Name}' keeps what it had, and what was recorded " +
                        "since is added.");
                }

                Wait(new ValueTask(session.StopAsync(Success)));
            });
        }
    }
}
