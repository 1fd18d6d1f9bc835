// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting;
using Fleece.Hosting.Client;
using Fleece.Hosting.Control;
using Fleece.Hosting.Rpc;

namespace Fleece.Resuming.Tests.Serving;

/// <summary>One control connection to the host, which ends with the host.</summary>
internal sealed class ControlClient : IAsyncDisposable
{
    private readonly IRpcConnection _rpc;

    private ControlClient(IRpcConnection rpc) => _rpc = rpc;

    /// <summary>Connects and greets.</summary>
    public static async Task<ControlClient> ConnectAsync(string socketPath)
    {
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath));
        NetworkStream stream = new(socket, ownsSocket: true);
        ControlClient client = new(RpcLibrary.Load().Open(stream, [], WireJson.Options, HostProtocol.ClientLimits));
        client._rpc.Start();
        ClientHello hello = new(
            HostProtocol.Version, HostProtocol.OldestVersion, HostLink.ModuleVersion, Environment.ProcessId, LeaseToken: null);
        await client.CallAsync<HostWelcome>(nameof(IHostControl.HelloAsync), new { hello });
        return client;
    }

    /// <summary>True for the error of a call whose host was killed.</summary>
    public static bool IsLoss(BlockException error) => error.Kind == HostErrors.CallInterrupted;

    public Task<DiskInfo> MountAsync(MountRequest request) => CallAsync<DiskInfo>(nameof(IDiskControl.MountAsync), new { request });

    public Task<IReadOnlyList<DiskInfo>> ListDisksAsync() =>
        CallAsync<IReadOnlyList<DiskInfo>>(nameof(IDiskControl.ListDisksAsync), new { });

    public Task<IReadOnlyList<SessionInfo>> StartSessionsAsync(SessionRequest request) =>
        CallAsync<IReadOnlyList<SessionInfo>>(nameof(ISessionControl.StartSessionsAsync), new { request });

    public Task<IReadOnlyList<SessionInfo>> ListSessionsAsync() =>
        CallAsync<IReadOnlyList<SessionInfo>>(nameof(ISessionControl.ListSessionsAsync), new { });

    public Task<SessionInfo> StopSessionAsync(string id, Guid instantId, bool isSuccess) => CallAsync<SessionInfo>(
        nameof(ISessionControl.StopSessionAsync), new { session = new SessionReference(id, instantId), isSuccess });

    public Task<SessionInfo> DiscardAsync(string id, Guid instantId, string? consumer, BlockRange range) => CallAsync<SessionInfo>(
        nameof(ISessionControl.DiscardAsync),
        new { session = new SessionReference(id, instantId) { Consumer = consumer }, range });

    public Task<SessionInfo> BeginJobSessionAsync(SessionRequest request) =>
        CallAsync<SessionInfo>(nameof(IJobControl.BeginJobSessionAsync), new { request });

    public Task<bool> EndJobSessionAsync(string id, Guid instantId, bool isSuccess) => CallAsync<bool>(
        nameof(IJobControl.EndJobSessionAsync), new { session = new SessionReference(id, instantId), isSuccess });

    public Task<CreatedBitmap> CreateBitmapAsync(string disk, string name) => CallAsync<CreatedBitmap>(
        nameof(IBitmapControl.CreateBitmapAsync),
        new { disk = new DiskReference(disk), name, granularityBytes = (long)Truth.Marks.UnitBytes, isEnabled = true });

    public Task<IReadOnlyList<BitmapInfo>> ListBitmapsAsync(string disk) =>
        CallAsync<IReadOnlyList<BitmapInfo>>(nameof(IBitmapControl.ListBitmapsAsync), new { disk = new DiskReference(disk) });

    public Task<BitmapInfo?> FindBitmapAsync(string disk, string name) => CallAsync<BitmapInfo?>(
        nameof(IBitmapControl.FindBitmapAsync),
        new { disk = new DiskReference(disk), bitmap = new BitmapReference(name), isExact = true, withRanges = true });

    public ValueTask DisposeAsync() => _rpc.DisposeAsync();

    private Task<T> CallAsync<T>(string method, object arguments) =>
        _rpc.CallAsync<T>(method, arguments, TestContext.Current.CancellationToken).AsTask();
}
