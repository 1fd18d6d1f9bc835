// SPDX-License-Identifier: MIT
using System.ComponentModel;
using System.Diagnostics;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Client;

/// <summary>A real NBD server on a unix socket: nbdkit or qemu-nbd. Tests that need one skip where it is missing.</summary>
/// <remarks>Both write the file with their process id once they listen, which is what starting waits for.</remarks>
internal sealed class PeerServer : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly string _tool;
    private readonly string[] _arguments;
    private Process? _process;
    private Task<string>? _errors;

    private PeerServer(string tool, string[] arguments)
    {
        _tool = tool;
        _arguments = arguments;
        Start();
    }

    public string SocketPath => _folder.File("nbd.sock");

    public NbdUri Uri => UriOf(string.Empty);

    /// <summary>Starts nbdkit; the arguments are flags, filters, plugin and its parameters.</summary>
    public static PeerServer Nbdkit(params string[] arguments) => new("nbdkit", arguments);

    /// <summary>Starts qemu-nbd; the arguments are options and the image.</summary>
    public static PeerServer QemuNbd(params string[] arguments) =>
        new("qemu-nbd", ["--persistent", "--shared=8", .. arguments]);

    public NbdUri UriOf(string export, string scheme = "nbd", string query = "") =>
        NbdUri.Parse($"{scheme}+unix:///{export}?socket={System.Uri.EscapeDataString(SocketPath)}{query}");

    public ValueTask<NbdNode> ConnectAsync(NbdNodeOptions? options = null) =>
        NbdNode.ConnectAsync(Uri, options ?? new NbdNodeOptions(), CancellationToken.None);

    /// <summary>Ends the server as a power failure would.</summary>
    public void Kill()
    {
        bool hadEnded = _process!.HasExited;
        _process.Kill();
        _process.WaitForExit();
        if (hadEnded)
        {
            TestContext.Current.TestOutputHelper?.WriteLine($"{_tool} had ended by itself with {_process.ExitCode}.");
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{_tool} said: {_errors!.GetAwaiter().GetResult()}");
        _process.Dispose();
        _process = null;
        File.Delete(SocketPath);
    }

    /// <summary>Starts it again, at the same address with the same arguments.</summary>
    public void Start()
    {
        string pidPath = _folder.NewFile(".pid");
        string[] common = _tool == "nbdkit"
            ? ["--foreground", "--unix", SocketPath, "--pidfile", pidPath]
            : ["--socket", SocketPath, "--pid-file", pidPath];
        ProcessStartInfo start = new(_tool, [.. common, .. _arguments]) { RedirectStandardError = true };
        try
        {
            _process = LastingThread.Run(() => Process.Start(start)!);
        }
        catch (Win32Exception)
        {
            _folder.Dispose();
            Assert.Skip($"{_tool} is not installed here (package {(_tool == "nbdkit" ? "nbdkit" : "qemu-utils")}).");
        }

        _errors = _process.StandardError.ReadToEndAsync();
        SpinWait.SpinUntil(() => _process.HasExited || (File.Exists(pidPath) && new FileInfo(pidPath).Length != 0));
        Assert.False(
            _process.HasExited, $"{_tool} {string.Join(' ', start.ArgumentList)}\n{(_process.HasExited ? _errors.Result : string.Empty)}");
    }

    public void Dispose()
    {
        if (_process is not null)
        {
            Kill();
        }

        _folder.Dispose();
    }
}
