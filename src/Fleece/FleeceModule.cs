// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Sessions;

namespace Fleece;

/// <summary>What lives as long as the module: the mounted disks of the process.</summary>
/// <remarks>All runspaces that import the module share the disks, so only the last removal closes them.</remarks>
public sealed class FleeceModule : IModuleAssemblyInitializer, IModuleAssemblyCleanup
{
    private static int s_importCount;

    static FleeceModule() => AppDomain.CurrentDomain.ProcessExit += static (_, _) =>
    {
        try
        {
            CloseAll();
        }
        catch (AggregateException e)
        {
            // Nobody is left to catch it, and an unhandled exception would only hide the text in a crash report.
            Console.Error.WriteLine($"Fleece could not close every disk: {e.Message}");
        }
    };

    internal static MountedDisks Disks { get; } = new();

    /// <summary>Counts the runspaces that use the module.</summary>
    public void OnImport() => Interlocked.Increment(ref s_importCount);

    /// <summary>Stops every session and closes every disk when no runspace uses the module any more.</summary>
    public void OnRemove(PSModuleInfo psModuleInfo)
    {
        if (Interlocked.Decrement(ref s_importCount) == 0)
        {
            CloseAll();
        }
    }

    // A script that forgets Dismount-FleeceDisk must not lose what its guests wrote: closing flushes.
    private static void CloseAll() => Disks.DisposeAsync().AsTask().GetAwaiter().GetResult();
}
