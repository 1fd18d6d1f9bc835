// SPDX-License-Identifier: MIT
using System.Management.Automation;
using System.Management.Automation.Runspaces;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Hosting;
using Fleece.Hosting.Control;
using Fleece.Hosting.Host;
using Fleece.Hosting.Local;

namespace Fleece;

/// <summary>What lives as long as the module: the mounted disks of the process.</summary>
/// <remarks>
/// All runspaces that import the module share the disks, so only the last removal closes them. A runspace that is closed
/// without removing the module says nothing, so the ones that are still open are counted when it matters.
/// </remarks>
public sealed class FleeceModule : IModuleAssemblyInitializer, IModuleAssemblyCleanup
{
    private static readonly Lock Users = new();
    private static readonly List<WeakReference<Runspace>> UsingRunspaces = [];

    internal static MountedDisks Disks { get; } = new();

    private static LocalOwner Local { get; } = new(Disks);

    /// <summary>The process that owns the disks which cmdlets work on.</summary>
    /// <remarks>In the process of a host, that host.</remarks>
    internal static ValueTask<IDiskOwner> FindOwnerAsync(CancellationToken cancellationToken) => new(Host?.Owner ?? Local);

    /// <summary>The host that this process is; null while it is none.</summary>
    internal static HostProcess? Host { get; private set; }

    internal static RunningCommands Commands { get; } = new();

    // A script that forgets Dismount-FleeceDisk must not lose what its guests wrote: closing flushes.
    private static ProcessEnd End { get; } = new(Disks, Commands, () => Host);

    /// <summary>Makes this process a host.</summary>
    /// <exception cref="BlockException"><see cref="HostErrors.AlreadyRunning"/>: it is one already; or why it can't be one.</exception>
    internal static HostProcess StartHost(Func<HostProcess> start)
    {
        lock (Users)
        {
            return Host = Host is null ? start() : throw new BlockException(
                HostErrors.AlreadyRunning, $"This process is a Fleece host already, at '{Host.Describe().SocketPath}'.");
        }
    }

    /// <summary>Ends the host that this process is, and waits for its end.</summary>
    internal static void EndHost(HostProcess host)
    {
        host.StopAsync().GetAwaiter().GetResult();
        lock (Users)
        {
            Host = null;
        }
    }

    /// <summary>Notes the runspace that imports the module.</summary>
    public void OnImport()
    {
        lock (Users)
        {
            UsingRunspaces.Add(new WeakReference<Runspace>(Runspace.DefaultRunspace));
            End.Register();
        }
    }

    /// <summary>Stops every session and closes every disk when no open runspace uses the module any more.</summary>
    public void OnRemove(PSModuleInfo psModuleInfo)
    {
        lock (Users)
        {
            Runspace mine = Runspace.DefaultRunspace;
            UsingRunspaces.RemoveAll(reference => !reference.TryGetTarget(out Runspace? runspace) ||
                runspace == mine || runspace.RunspaceStateInfo.State != RunspaceState.Opened);
            if (UsingRunspaces.Count != 0)
            {
                return;
            }
        }

        // A signal that comes meanwhile must still wait for the disks.
        Disks.DisposeAsync().AsTask().GetAwaiter().GetResult();
        lock (Users)
        {
            if (UsingRunspaces.Count == 0)
            {
                End.Unregister();
            }
        }
    }
}
