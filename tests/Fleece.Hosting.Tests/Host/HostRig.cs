// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Hosting.Host;
using Fleece.Hosting.Rpc;
using Fleece.Hosting.Systemd;
using Fleece.Qemu.Guard;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Host;

/// <summary>A host in this process, with a clock that the test moves, and clients over its real socket.</summary>
internal sealed class HostRig : IAsyncDisposable
{
    private readonly List<TestClient> _clients = [];

    public HostRig()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "a host needs Linux");
        Directory.CreateDirectory(Folder.File("run"));
    }

    /// <summary>Where no guest is frozen or paused.</summary>
    public static Func<GuardProgram> NoGuard { get; } = () => throw new InvalidOperationException("No guard is needed here.");

    public TempFolder Folder { get; } = new();

    public ManualTime Time { get; } = new();

    public LogLines Log { get; } = new();

    /// <summary>From when on a request is slow to the next host.</summary>
    public TimeSpan SlowRequest { get; set; } = HostOptions.DefaultSlowRequest;

    /// <summary>The service manager that the next host tells.</summary>
    public ServiceNotifier Notifier { get; set; } = new(null);

    /// <summary>What the service manager gives the next host.</summary>
    public InheritedDescriptors? Inherited { get; set; }

    public HostProcess Host => Running ?? throw new InvalidOperationException("The host has not been started.");

    public HostProcess? Running { get; private set; }

    public string SocketPath => Folder.File("run/host.sock");

    public string StatePath => Folder.File("state");

    public MountedDisks Mounted => Host.Owner.Mounted;

    /// <summary>Starts the host, or starts it again, and waits until it is ready.</summary>
    public async Task StartAsync(string? group = null, params string[] allowedFolders)
    {
        await StopAsync();
        await Begin(group, allowedFolders).Ready;
    }

    /// <summary>Starts the host; nothing waits until it is ready.</summary>
    public HostProcess Begin(string? group = null, params string[] allowedFolders) => Running = HostProcess.Start(new HostOptions
    {
        StatePath = StatePath,
        SocketPath = SocketPath,
        SocketGroup = group,
        AllowedFolders = allowedFolders,
        Guard = NoGuard,
        SlowRequest = SlowRequest,
        Log = Log,
        Notifier = Notifier,
        Inherited = Inherited,
        Time = Time,
    });

    public async Task StopAsync()
    {
        if (Running is { } running)
        {
            await running.StopAsync();
            Running = null;
        }
    }

    /// <summary>A raw image of 1 MiB.</summary>
    public async Task<string> AddImageAsync(string name)
    {
        string path = Folder.File(name + ".raw");
        await FileNode.Create(path, 1 << 20).DisposeAsync();
        return path;
    }

    /// <summary>A client that has said Hello.</summary>
    public async Task<TestClient> ConnectAsync(string? token = null)
    {
        TestClient client = Open(Connect());
        await client.HelloAsync(token);
        return client;
    }

    /// <summary>A client that has said nothing yet.</summary>
    public TestClient Open(Socket socket) => Open(new NetworkStream(socket, ownsSocket: true));

    public TestClient Open(Stream stream)
    {
        TestClient client = new(RpcLibrary.Load().Open(stream, [], WireJson.Options, HostProtocol.ClientLimits));
        _clients.Add(client);
        return client;
    }

    public Socket Connect()
    {
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(SocketPath));
        return socket;
    }

    /// <summary>The permissions of a file, as a number.</summary>
    public static int ModeOf(string path) => OperatingSystem.IsWindows() ? 0 : (int)File.GetUnixFileMode(path);

    /// <summary>Lets all users of the machine reach the rig's folder.</summary>
    public void OpenTheFolder() => Open(Folder.Path);

    /// <summary>Lets all users of the machine use a file or folder.</summary>
    public static void Open(string path)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, (UnixFileMode)0x1FF);
        }
    }

    /// <summary>Waits until something of another thread has happened.</summary>
    public static async Task UntilAsync(Func<bool> happened)
    {
        while (!happened())
        {
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (TestClient client in _clients)
        {
            await client.DisposeAsync();
        }

        await StopAsync();
        Folder.Dispose();
    }
}

/// <summary>The lines that a host has written so far.</summary>
internal sealed class LogLines : TextWriter
{
    private readonly ConcurrentQueue<string> _lines = [];

    public override Encoding Encoding => Encoding.UTF8;

    public override Task WriteLineAsync(string? value)
    {
        _lines.Enqueue(value ?? string.Empty);
        return Task.CompletedTask;
    }

    public override string ToString() => string.Concat(_lines.Select(line => line + "\n"));
}

/// <summary>The other end of a control connection.</summary>
internal sealed class TestClient : IAsyncDisposable
{
    private readonly IRpcConnection _rpc;

    public TestClient(IRpcConnection rpc)
    {
        _rpc = rpc;
        rpc.Start();
    }

    public Task Ended => _rpc.Ended;

    public string Token { get; private set; } = string.Empty;

    public async Task<HostWelcome> HelloAsync(string? token = null, int version = HostProtocol.Version)
    {
        HostWelcome welcome = await CallAsync<HostWelcome>(
            nameof(IHostControl.HelloAsync), new { hello = new ClientHello(version, version, "9.9.9", Environment.ProcessId, token) });
        Token = welcome.LeaseToken;
        return welcome;
    }

    public Task<DiskInfo> MountAsync(MountRequest request) => CallAsync<DiskInfo>(nameof(IDiskControl.MountAsync), new { request });

    public Task<DiskInfo> MountAsync(string path) => MountAsync(new MountRequest { Address = path });

    public Task<DiskInfo> DismountAsync(string disk) =>
        CallAsync<DiskInfo>(nameof(IDiskControl.DismountAsync), new { disk = new DiskReference(disk), isForced = false });

    public Task<IReadOnlyList<DiskInfo>> ListDisksAsync() =>
        CallAsync<IReadOnlyList<DiskInfo>>(nameof(IDiskControl.ListDisksAsync), new { });

    public Task<SessionInfo> BeginJobSessionAsync(string disk, string? nextBitmap = null, string? bitmap = null, string? name = null) =>
        CallAsync<SessionInfo>(nameof(IJobControl.BeginJobSessionAsync), new
        {
            request = new SessionRequest
            {
                Disks = [new DiskReference(disk)],
                Name = name,
                NextBitmap = nextBitmap,
                Bitmap = bitmap is null ? null : new BitmapReference(bitmap),
            },
        });

    public Task<T> CallAsync<T>(string method, object arguments) =>
        _rpc.CallAsync<T>(method, arguments, TestContext.Current.CancellationToken).AsTask();

    public ValueTask DisposeAsync() => _rpc.DisposeAsync();
}
