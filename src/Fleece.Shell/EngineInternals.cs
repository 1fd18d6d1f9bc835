// SPDX-License-Identifier: MIT
using System.Collections;
using System.Management.Automation;
using System.Management.Automation.Runspaces;
using System.Reflection;

namespace Fleece.Shell;

/// <summary>
/// Two things a host outside PowerShell's own repository cannot ask for in public. The package's version is pinned, so
/// a member that has moved fails here, by name, in the first test after an upgrade.
/// </summary>
internal static class EngineInternals
{
    private const BindingFlags Any =
        BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static | BindingFlags.Instance;

    /// <summary>
    /// Teaches the engine which of its parts are here. It takes for granted that its console, utility and management
    /// assemblies lie beside it, and a script's own <c>[powershell]::Create()</c> fails on the first that does not.
    /// </summary>
    public static void DropAbsentParts()
    {
        Assembly engine = typeof(PSObject).Assembly;
        string folder = Path.GetDirectoryName(engine.Location)!;
        Type reader = engine.GetType("System.Management.Automation.PSSnapInReader", throwOnError: true)!;
        var parts = (IList)Property(reader, "DefaultMshSnapins").GetValue(null)!;
        for (int i = parts.Count - 1; i >= 0; i--)
        {
            Type part = parts[i]!.GetType();
            FieldInfo name = part.GetField("AssemblyName", Any)
                ?? throw new MissingFieldException(part.FullName, "AssemblyName");
            if (!File.Exists(Path.Combine(folder, name.GetValue(parts[i]) + ".dll")))
            {
                parts.RemoveAt(i);
            }
        }
    }

    /// <summary>
    /// Makes <c>exit N</c> in the next script reach the host. Otherwise the engine takes the script for one that
    /// another script calls and leaves N in <c>$LASTEXITCODE</c>, where a native program's code looks the same.
    /// </summary>
    public static void LetExitReachHost(Runspace runspace)
    {
        object context = Property(runspace.GetType(), "ExecutionContext").GetValue(runspace)!;
        Property(context.GetType(), "ScriptCommandProcessorShouldRethrowExit").SetValue(context, true);
    }

    private static PropertyInfo Property(Type type, string name) =>
        type.GetProperty(name, Any) ?? throw new MissingMemberException(type.FullName, name);
}
