// SPDX-License-Identifier: MIT
using System.Management.Automation;
using System.Management.Automation.Runspaces;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Hosting;
using Fleece.Hosting.Client;
using Fleece.Hosting.Control;
using Fleece.Hosting.Host;
using Fleece.Hosting.Local;
using Fleece.Hosting.Rpc;

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

    private static LocalOwner Local { get; } = new(Disks, GuardPrograms.Find);

    /// <summary>The hosts that this process uses.</summary>
    internal static HostSelection Hosts { get; } = new(
        Local, path => new HostOwner(new HostAddress(path, RpcLibrary.Load, WireJson.Options)), HostPlaces.OfSystem);

    /// <summary>The process that owns the disks which cmdlets work on; in the process of a host, that one.</summary>
    /// <param name="folder">The shell's folder, in which a relative path in $env:FLEECE_HOST lies; null for none.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="BlockException">Why the host that is meant can't be used.</exception>
    internal static ValueTask<IDiskOwner> FindOwnerAsync(string? folder, CancellationToken cancellationToken) =>
        Host is { } host ? new ValueTask<IDiskOwner>(host.Owner) : Hosts.FindAsync(cancellationToken, folder);

    /// <summary>The host that this process is; null while it is none.</summary>
    internal static HostProcess? Host { get; private set; }

    internal static RunningCommands Commands { get; } = new();

    // A script that forgets Dismount-FleeceDisk must not lose what its guests wrote: closing flushes.
    private static ProcessEnd End { get; } = new(Local, Commands, () => Host);

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

    /// <summary>Closes every disk when no open runspace uses the module any more. Sessions that can be resumed are left to a later process,
    /// and others stop.</summary>
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
        Task guests = Local.DisposeAsync().AsTask();
        Task disks = Disks.SuspendAllAsync().AsTask();
        Task.WhenAll(guests, disks).GetAwaiter().GetResult();
        lock (Users)
        {
            if (UsingRunspaces.Count == 0)
            {
                End.Unregister();
            }
        }
    }
}
