// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Resuming.Tests.Truth;

namespace Fleece.Resuming.Tests.Worlds;

/// <summary>A disk that the host serves, and the gate of its guests.</summary>
#pragma warning disable CA1001 // The semaphore has no handle.
internal sealed class WorldDisk(DiskTruth truth, DiskKind kind, string path, string socketPath)
{
    /// <summary>Requests that guests have in flight at most.</summary>
    public const int GuestRequests = 3;

    private readonly SemaphoreSlim _gate = new(GuestRequests);

    public DiskTruth Truth => truth;

    public DiskKind Kind => kind;

    public string Path => path;

    public string Name => truth.Name;

    /// <summary>Where the disk and its snapshots are served.</summary>
    public string SocketPath => socketPath;

    /// <summary>Taken by a guest for each request.</summary>
    public SemaphoreSlim Gate => _gate;

    /// <summary>Keeps guests from beginning requests, and waits for those in flight.</summary>
    public async Task PauseAsync()
    {
        for (int i = 0; i < GuestRequests; i++)
        {
            await _gate.WaitAsync();
        }
    }

    /// <summary>Ends <see cref="PauseAsync"/>.</summary>
    public void GoOn() => _gate.Release(GuestRequests);

    /// <summary>A guest's connections.</summary>
    public Task<NbdNode> ConnectAsync(int connections) => ConnectToAsync(Name, connections, isReadOnly: false);

    /// <summary>The snapshot of a session, or the view of one of its consumers.</summary>
    public Task<NbdNode> ConnectAsync(SessionTruth session, string consumer) =>
        ConnectToAsync(consumer.Length == 0 ? session.Id : $"{session.Id}/{consumer}", 1, isReadOnly: false);

    private async Task<NbdNode> ConnectToAsync(string exportName, int connections, bool isReadOnly)
    {
        NbdNodeOptions options = new()
        {
            ReconnectTimeout = TimeSpan.Zero,
            MaximumConnections = connections,
            IsReadOnly = isReadOnly,
            ReadsKinds = true,
        };
        NbdUri uri = NbdUri.Parse($"nbd+unix:///?socket={socketPath}") with { ExportName = exportName };
        return await NbdNode.ConnectAsync(uri, options, CancellationToken.None);
    }
}

/// <summary>Errors that the end of a host explains.</summary>
internal static class Losses
{
    /// <summary>True for the answer of a snapshot whose session is broken. The client reads EPERM for a discard as a read-only export.</summary>
    public static bool IsBreak(BlockException error) =>
        error.Kind is BlockErrors.Broken or BlockErrors.Denied or BlockErrors.ReadOnly or BlockErrors.IoFailed &&
        error.Message.Contains("lost its point in time", StringComparison.Ordinal);

    /// <summary>True for an error of a request whose server has gone, or is going.</summary>
    public static bool IsLoss(BlockException error) =>
        error.Kind is NbdErrors.ConnectionLost or NbdErrors.ConnectFailed or BlockErrors.Closed;
}
