// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Hosting.Records;

namespace Fleece.Hosting.Client;

/// <summary>Where hosts of this machine are looked for.</summary>
/// <param name="DefaultSocketPath">The control socket of an installed host.</param>
/// <param name="UnitPath">The file that says that a host is installed.</param>
/// <param name="NamedSocket">The value of $env:FLEECE_HOST, read anew at each question.</param>
internal sealed record HostPlaces(string DefaultSocketPath, string UnitPath, Func<string?> NamedSocket)
{
    /// <summary>The environment variable.</summary>
    public const string VariableName = "FLEECE_HOST";

    /// <summary>The value that asks for this process.</summary>
    public const string ThisProcess = "none";

    /// <summary>Those of the system.</summary>
    public static HostPlaces OfSystem { get; } = new(
        HostProtocol.DefaultSocketPath, HostProtocol.UnitPath, () => Environment.GetEnvironmentVariable(VariableName));
}

/// <summary>Which process owns the disks that cmdlets see: a host, or this process.</summary>
/// <remarks>
/// <para>A host that was connected to comes first, then $env:FLEECE_HOST, then an installed host. One that is meant and does not answer
/// is an error: disks that were mounted in this process instead would end with it.</para>
/// <para>Threading. All members are safe from any thread. Ownership. It owns the connections to hosts.</para>
/// </remarks>
/// <param name="local">The disks of this process.</param>
/// <param name="open">Makes the owner for a control socket; it connects later.</param>
/// <param name="places">Where hosts are looked for.</param>
internal sealed class HostSelection(IDiskOwner local, Func<string, HostOwner> open, HostPlaces places) : IAsyncDisposable
{
    private static readonly TimeSpan SearchTime = TimeSpan.FromSeconds(2);

    private readonly Lock _lock = new();
    private readonly Dictionary<string, HostOwner> _hosts = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _resolved = new(StringComparer.Ordinal);
    private string? _connectedPath;

    /// <summary>The control socket of the host that was connected to; null for none.</summary>
    public string? ConnectedPath
    {
        get
        {
            lock (_lock)
            {
                return _connectedPath;
            }
        }
    }

    /// <summary>The process that owns the disks; a host has been reached when this returns.</summary>
    /// <param name="cancellationToken">Gives up.</param>
    /// <param name="folder">The shell's folder, in which a relative path in $env:FLEECE_HOST lies. It counts once for each value, so that
    /// the same value goes on meaning the same host.</param>
    /// <exception cref="BlockException">HostErrors.NotRunning, or what else keeps this process from the host that is meant.</exception>
    public async ValueTask<IDiskOwner> FindAsync(CancellationToken cancellationToken, string? folder = null) =>
        await FindHostAsync(folder, cancellationToken).ConfigureAwait(false) ?? local;

    /// <summary>What <see cref="FindAsync"/> finds, as a record.</summary>
    public async ValueTask<HostInfo> GetInfoAsync(CancellationToken cancellationToken, string? folder = null) =>
        await FindHostAsync(folder, cancellationToken).ConfigureAwait(false) is { } host
            ? await host.GetInfoAsync(cancellationToken).ConfigureAwait(false)
            : await DescribeThisProcessAsync(cancellationToken).ConfigureAwait(false);

    /// <summary>Connects to a host, which this process uses from now on.</summary>
    /// <param name="socketPath">The absolute path of its control socket; null for that of an installed host.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="BlockException">Why not; the process goes on with what it used before.</exception>
    public async ValueTask<HostInfo> ConnectAsync(string? socketPath, CancellationToken cancellationToken)
    {
        string path = socketPath ?? places.DefaultSocketPath;
        HostInfo info = await OwnerOf(path).GetInfoAsync(cancellationToken).ConfigureAwait(false);
        lock (_lock)
        {
            _connectedPath = path;
        }

        return info;
    }

    /// <summary>Leaves the host that was connected to; sessions that jobs of this process have there end without success.</summary>
    /// <returns>Its control socket; null where this process was connected to none.</returns>
    public async ValueTask<string?> DisconnectAsync()
    {
        string? path;
        HostOwner? owner = null;
        lock (_lock)
        {
            path = _connectedPath;
            _connectedPath = null;
            if (path is not null)
            {
                _hosts.Remove(path, out owner);
            }
        }

        if (owner is not null)
        {
            await owner.DisposeAsync().ConfigureAwait(false);
        }

        return path;
    }

    /// <summary>The disk that a host of this machine made of an image, for messages.</summary>
    /// <param name="imagePath">The image's full path.</param>
    /// <returns>Null where no host that is known here answers soon and has it.</returns>
    public async ValueTask<DiskInfo?> FindServedAsync(string imagePath)
    {
        string?[] candidates = [ConnectedPath, places.NamedSocket(), places.DefaultSocketPath];
        using CancellationTokenSource patience = new(SearchTime);
        foreach (string socketPath in candidates.OfType<string>().Where(Path.IsPathFullyQualified).Where(Path.Exists).Distinct())
        {
            try
            {
                IReadOnlyList<DiskInfo> disks =
                    await OwnerOf(socketPath).Disks.ListDisksAsync(patience.Token).ConfigureAwait(false);
                if (disks.FirstOrDefault(disk => disk.Path == imagePath) is { } served)
                {
                    return served;
                }
            }
            catch (Exception e) when (e is BlockException or OperationCanceledException)
            {
                // The image is in use whatever a host says; only the message is shorter.
            }
        }

        return null;
    }

    /// <summary>Leaves all hosts.</summary>
    public async ValueTask DisposeAsync()
    {
        HostOwner[] all;
        lock (_lock)
        {
            all = [.. _hosts.Values];
            _hosts.Clear();
            _connectedPath = null;
        }

        foreach (HostOwner host in all)
        {
            await host.DisposeAsync().ConfigureAwait(false);
        }
    }

    private async ValueTask<HostOwner?> FindHostAsync(string? folder, CancellationToken cancellationToken)
    {
        if (ChoosePath(folder) is not { } path)
        {
            return null;
        }

        HostOwner host = OwnerOf(path);
        try
        {
            await host.ConnectAsync(cancellationToken).ConfigureAwait(false);
            return host;
        }
        catch (BlockException e) when (e.Kind == HostErrors.NotRunning && path == ConnectedPath)
        {
            throw new BlockException(
                e.Kind,
                $"{e.Message} This PowerShell was connected to it with Connect-FleeceHost, which comes before $env:FLEECE_HOST; " +
                "Disconnect-FleeceHost leaves it.",
                operation: e.Operation,
                cause: e);
        }
    }

    private string? ChoosePath(string? folder)
    {
        if (ConnectedPath is { } connected)
        {
            return connected;
        }

        if (places.NamedSocket() is { Length: > 0 } named)
        {
            return string.Equals(named, HostPlaces.ThisProcess, StringComparison.OrdinalIgnoreCase) ? null : Resolve(named, folder);
        }

        return File.Exists(places.UnitPath) || Path.Exists(places.DefaultSocketPath) ? places.DefaultSocketPath : null;
    }

    private string Resolve(string named, string? folder)
    {
        if (Path.IsPathFullyQualified(named))
        {
            return named;
        }

        lock (_lock)
        {
            if (!_resolved.TryGetValue(named, out string? path))
            {
                path = folder is not null ? Path.GetFullPath(named, folder) : throw new BlockException(
                    BlockErrors.InvalidArgument,
                    $"$env:{HostPlaces.VariableName} is '{named}', a relative path, and there is no folder that it lies in. Give an " +
                    "absolute path.",
                    named);
                _resolved.Add(named, path);
            }

            return path;
        }
    }

    private HostOwner OwnerOf(string path)
    {
        lock (_lock)
        {
            if (!_hosts.TryGetValue(path, out HostOwner? owner))
            {
                owner = open(path);
                _hosts.Add(path, owner);
            }

            return owner;
        }
    }

    private async ValueTask<HostInfo> DescribeThisProcessAsync(CancellationToken cancellationToken)
    {
        using Process process = Process.GetCurrentProcess();
        DateTimeOffset startedAt = process.StartTime;
        return new HostInfo
        {
            IsThisProcess = true,
            ProcessId = process.Id,
            User = OperatingSystem.IsLinux() ? SystemUsers.NameOf(SystemUsers.Current) : Environment.UserName,
            Version = HostLink.ModuleVersion,
            StartedAt = startedAt,
            Uptime = DateTimeOffset.Now - startedAt,
            DiskCount = (await local.Disks.ListDisksAsync(cancellationToken).ConfigureAwait(false)).Count,
            SessionCount = (await local.Sessions.ListSessionsAsync(cancellationToken).ConfigureAwait(false)).Count,
            WorkingSetBytes = process.WorkingSet64,
        };
    }
}
