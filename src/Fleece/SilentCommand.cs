// SPDX-License-Identifier: MIT
using System.Management.Automation;

namespace Fleece;

/// <summary>What the cmdlets share that write nothing unless they are asked to.</summary>
public abstract class SilentCommand : FleeceCommand
{
    /// <summary>Output what was changed, as the cmdlet of the same noun with the verb Get does.</summary>
    [Parameter]
    public SwitchParameter PassThru { get; set; }

    /// <summary>Writes it where -PassThru asks for it.</summary>
    private protected void Pass(Func<object> changed)
    {
        if (PassThru)
        {
            WriteObject(changed());
        }
    }
}
