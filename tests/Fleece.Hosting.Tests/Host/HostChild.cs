// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Net.Sockets;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Hosting.Host;
using Fleece.Hosting.Rpc;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Host;

/// <summary>A host in a process of its own, which can be killed and started again over the same state.</summary>
internal sealed class HostChild : IAsyncDisposable
{
    /// <summary>The first argument; the second is the folder that has the state and the socket.</summary>
    public const string Verb = "serve-host";

    private const string Ready = "ready";

    private Process? _process;
    private TestClient? _client;

    public HostChild()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "a host needs Linux");
        Directory.CreateDirectory(Folder.File("run"));
    }

    public TempFolder Folder { get; } = new();

    /// <summary>A client that has said Hello to the host that runs now.</summary>
    public TestClient Client => _client!;

    /// <summary>The log of the host that runs now.</summary>
    public string Log { get; private set; } = string.Empty;

    /// <summary>Where the disk "web" and its snapshots are served.</summary>
    public string ListenUri => $"nbd+unix:///web?socket={Folder.File("web.sock")}";

    /// <summary>Runs a host until its input ends.</summary>
    public static async Task<int> RunAsync(string folder)
    {
        HostProcess host = HostProcess.Start(new HostOptions
        {
            StatePath = Path.Combine(folder, "state"),
            SocketPath = Path.Combine(folder, "run/host.sock"),
            Guard = HostRig.NoGuard,
            Log = Console.Error,
        });
        await host.Ready;
        Console.WriteLine(Ready);
        await Console.In.ReadLineAsync();
        await host.StopAsync();
        return 0;
    }

    /// <summary>Starts a host, and waits until it is ready.</summary>
    /// <param name="killAt">The step at which it is killed; null for none.</param>
    /// <returns>False when it was killed before.</returns>
    public async Task<bool> StartAsync(string? killAt = null)
    {
        ProcessStartInfo start = new("dotnet", [typeof(HostChild).Assembly.Location, Verb, Folder.Path])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["FLEECE_TEST_KILL_AT"] = killAt;
        _process = Process.Start(start)!;
        Log = string.Empty;
        _process.ErrorDataReceived += (_, line) => Log += line.Data + "\n";
        _process.BeginErrorReadLine();
        if (await _process.StandardOutput.ReadLineAsync() != Ready)
        {
            await _process.WaitForExitAsync();
            return false;
        }

        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(Folder.File("run/host.sock")));
        _client = new TestClient(RpcLibrary.Load().Open(
            new NetworkStream(socket, ownsSocket: true), [], WireJson.Options, HostProtocol.ClientLimits));
        await _client.HelloAsync();
        return true;
    }

    /// <summary>Ends the host as SIGKILL does, where a step has not done so.</summary>
    public async Task KillAsync()
    {
        if (_process is { } process)
        {
            process.Kill();
            await EndAsync(process);
        }
    }

    /// <summary>Ends the host in order.</summary>
    public async Task StopAsync()
    {
        _process!.StandardInput.Close();
        await EndAsync(_process);
    }

    /// <summary>Waits for the end that a step has brought.</summary>
    public Task WaitForEndAsync() => EndAsync(_process!);

    /// <summary>A guest, or a reader of a snapshot.</summary>
    /// <param name="name">What is behind "web" in the export's name.</param>
    public ValueTask<NbdNode> ConnectAsync(string name = "") => NbdNode.ConnectAsync(
        NbdUri.Parse(ListenUri).WithExport("web" + name), new NbdNodeOptions(), TestContext.Current.CancellationToken);

    /// <summary>The content of a snapshot, or of the disk.</summary>
    public async Task<byte[]> ReadAsync(string name = "")
    {
        await using NbdNode node = await ConnectAsync(name);
        byte[] content = new byte[node.Geometry.LengthBytes];
        await node.ReadAsync(0, content, TestContext.Current.CancellationToken);
        return content;
    }

    public Task<IReadOnlyList<SessionInfo>> ListSessionsAsync() =>
        Client.CallAsync<IReadOnlyList<SessionInfo>>(nameof(ISessionControl.ListSessionsAsync), new { });

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        Folder.Dispose();
    }

    private async Task EndAsync(Process process)
    {
        await process.WaitForExitAsync();
        if (_client is { } client)
        {
            _client = null;
            await client.DisposeAsync();
        }

        _process = null;
        process.Dispose();
    }
}
