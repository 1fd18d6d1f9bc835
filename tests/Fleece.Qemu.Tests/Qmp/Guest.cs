// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block;
using Fleece.Qemu.Qmp;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Qmp;

/// <summary>A real QEMU with a guest that does not run, and its monitor. It ends with the test.</summary>
internal sealed class Guest : IAsyncDisposable
{
    /// <summary>The programs to test against, as rows of a theory: Debian 12's from PATH, and the one that QEMU10_SYSTEM names.</summary>
    public static TheoryData<string> Programs => ["qemu-system-x86_64", "$QEMU10_SYSTEM"];

    private readonly TempFolder _folder = new();
    private readonly Process _process;

    private Guest(string program, string[] arguments)
    {
        _process = Peer.Start(
            program,
            ["-nodefaults", "-display", "none", "-machine", "none", "-S", "-qmp", $"unix:{SocketPath},server=on,wait=off", .. arguments]);
    }

    /// <summary>The monitor's socket.</summary>
    public string SocketPath => _folder.File("qmp");

    /// <summary>The process.</summary>
    public Process Process => _process;

    /// <summary>A name in the test's folder.</summary>
    public string File(string name) => _folder.File(name);

    /// <summary>Starts QEMU, with a machine without anything unless the test says more; skips the test where the program is missing.
    /// </summary>
    public static Guest Start(string program, params string[] arguments)
    {
        if (program.StartsWith('$'))
        {
            string? named = Environment.GetEnvironmentVariable(program[1..]);
            Assert.SkipWhen(string.IsNullOrEmpty(named), $"{program} names no QEMU");
            program = named!;
        }

        Peer.Need(program);
        return new Guest(program, arguments);
    }

    /// <summary>Connects to the monitor, once it listens.</summary>
    public Task<QmpConnection> ConnectAsync(QmpOptions? options = null) => ConnectAsync(Process, SocketPath, options);

    /// <summary>Connects to the monitor of a QEMU that was started a moment ago: a socket's file is there before it listens.</summary>
    public static async Task<QmpConnection> ConnectAsync(Process qemu, string socketPath, QmpOptions? options = null)
    {
        while (true)
        {
            try
            {
                return await QmpConnection.ConnectAsync(socketPath, options ?? QmpOptions.Default, TestContext.Current.CancellationToken);
            }
            catch (BlockException e) when (e.Kind == QemuErrors.QemuNotRunning && !qemu.HasExited)
            {
                await Task.Delay(10, TestContext.Current.CancellationToken);
            }
        }
    }

    /// <summary>Sends the process a signal.</summary>
    public async Task SignalAsync(string name) => await Peer.RunAsync("kill", $"-{name}", $"{Process.Id}");

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync(CancellationToken.None);
        _process.Dispose();
        _folder.Dispose();
    }
}
