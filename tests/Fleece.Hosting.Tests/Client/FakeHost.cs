// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Disks.Records;
using Fleece.Hosting.Client;
using Fleece.Hosting.Control;
using Fleece.Hosting.Records;
using Fleece.Hosting.Rpc;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Client;

/// <summary>A server at a socket that behaves as a test wants: as a host that dies and comes back, or as none at all.</summary>
internal sealed class FakeHost : IAsyncDisposable, IHostControl, IDiskControl
{
    private readonly TempFolder _folder = new();
    private readonly List<IAsyncDisposable> _open = [];
    private Socket? _listener;

    public FakeHost() => Assert.SkipUnless(OperatingSystem.IsLinux(), "a host needs Linux");

    public HostAddress Address => new(_folder.File("host.sock"), RpcLibrary.Load, WireJson.Options)
    {
        HelloTimeout = TimeSpan.FromSeconds(1),
    };

    /// <summary>Serves a connection; as a host when left out.</summary>
    public Func<Socket, Task>? Serve { get; set; }

    public HostWelcome Welcome { get; set; } = new(HostProtocol.Version, "9.9.9", "token", IsResumed: false, Guid.NewGuid());

    /// <summary>What clients said, in order.</summary>
    public List<ClientHello> Hellos { get; } = [];

    /// <summary>Ends the connection at this many calls about disks before they are answered.</summary>
    public int CallsToDieOf { get; set; }

    public int Calls { get; private set; }

    public IReadOnlyList<DiskInfo> Disks { get; set; } = [];

    public void Start()
    {
        _listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        _listener.Bind(new UnixDomainSocketEndPoint(Address.SocketPath));
        _listener.Listen();
        _ = AcceptAsync(_listener);
    }

    /// <summary>Ends as a killed process does.</summary>
    public async Task StopAsync()
    {
        _listener?.Dispose();
        File.Delete(Address.SocketPath);
        await CloseAllAsync();
    }

    public ValueTask<HostWelcome> HelloAsync(ClientHello hello, CancellationToken cancellationToken)
    {
        lock (_open)
        {
            Hellos.Add(hello);
        }

        return new(Welcome);
    }

    public ValueTask<HostInfo> GetHostInfoAsync(CancellationToken cancellationToken) => new(new HostInfo { ProcessId = 1 });

    public ValueTask<SnapshotChannel> OpenSnapshotChannelAsync(
        SessionReference? session, bool discards, CancellationToken cancellationToken) => throw new NotSupportedException();

    public ValueTask<DiskChannel> OpenDiskChannelAsync(DiskReference disk, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public async ValueTask<DiskInfo> MountAsync(MountRequest request, CancellationToken cancellationToken)
    {
        await DieOrNotAsync();
        throw new NotSupportedException();
    }

    public async ValueTask<IReadOnlyList<DiskInfo>> ListDisksAsync(CancellationToken cancellationToken)
    {
        await DieOrNotAsync();
        return Disks;
    }

    public ValueTask<DiskInfo> FindDiskAsync(DiskReference disk, CancellationToken cancellationToken) => throw new NotSupportedException();

    public ValueTask<DiskInfo> DismountAsync(DiskReference disk, bool isForced, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _folder.Dispose();
    }

    private async Task DieOrNotAsync()
    {
        Calls++;
        if (CallsToDieOf > 0)
        {
            CallsToDieOf--;
            await CloseAllAsync();
        }
    }

    private async Task CloseAllAsync()
    {
        IAsyncDisposable[] open;
        lock (_open)
        {
            open = [.. _open];
            _open.Clear();
        }

        foreach (IAsyncDisposable connection in open)
        {
            await connection.DisposeAsync();
        }
    }

    private async Task AcceptAsync(Socket listener)
    {
        try
        {
            while (true)
            {
                Socket socket = await listener.AcceptAsync();
                if (Serve is { } serve)
                {
                    NetworkStream stream = new(socket, ownsSocket: true);
                    lock (_open)
                    {
                        _open.Add(stream);
                    }

                    await serve(socket);
                    continue;
                }

                IRpcConnection rpc = RpcLibrary.Load().Open(
                    new NetworkStream(socket, ownsSocket: true),
                    [new RpcTarget(typeof(IHostControl), this), new RpcTarget(typeof(IDiskControl), this)],
                    WireJson.Options,
                    HostProtocol.NewHostLimits());
                lock (_open)
                {
                    _open.Add(rpc);
                }

                rpc.Start();
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The test has stopped it.
        }
    }
}
