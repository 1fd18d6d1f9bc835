// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>qemu-io as a client: one run of it for a few commands, or one that stays connected.</summary>
internal sealed class QemuIo : IAsyncDisposable
{
    /// <summary>What the client says for a request that the server refused for good (EPERM).</summary>
    public const string NotPermitted = "Operation not permitted";

    /// <summary>What the client says for a request that failed in the server's storage (EIO).</summary>
    public const string IoError = "Input/output error";

    /// <summary>What the client says for a request that found no room (ENOSPC).</summary>
    public const string NoSpace = "No space left on device";

    private readonly Process _process;

    private QemuIo(Process process) => _process = process;

    /// <summary>Runs commands one after the other and fails the test when one of them fails.</summary>
    public static async Task<string> RunAsync(string uri, params string[] commands)
    {
        PeerResult result = await TryRunAsync(uri, commands);
        Assert.True(result.ExitCode == 0 && !HasFailed(result.Output), $"{uri}: {result.ExitCode}\n{result.Output}");
        return result.Output;
    }

    /// <summary>Runs one command, which must fail and say so in these words.</summary>
    public static async Task AssertRefusedAsync(string uri, string command, string reason)
    {
        PeerResult result = await TryRunAsync(uri, command);
        Assert.NotEqual(0, result.ExitCode);
        Assert.Contains($"failed: {reason}", result.Output, StringComparison.Ordinal);
    }

    /// <summary>Connects and stays.</summary>
    public static QemuIo Connect(string uri) => new(Peer.Start("qemu-io", "-f", "raw", uri));

    /// <summary>Runs a read or a write on the standing connection and returns what it said.</summary>
    public async Task<string> DoAsync(string command)
    {
        await _process.StandardInput.WriteLineAsync(command);
        await _process.StandardInput.FlushAsync();

        // A request that went well says what it did and then how fast; one that failed says only that.
        string line = await _process.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(5)) ??
            await _process.StandardError.ReadToEndAsync();
        if (!HasFailed(line))
        {
            await _process.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(5));
        }

        return line;
    }

    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close();
        try
        {
            await _process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(20));
        }
        finally
        {
            _process.Kill();
            _process.Dispose();
        }
    }

    private static Task<PeerResult> TryRunAsync(string uri, params string[] commands) =>
        Peer.TryRunAsync("qemu-io", ["-f", "raw", .. commands.SelectMany(command => (string[])["-c", command]), uri]);

    // A pattern that is not there is called a failed verification.
    private static bool HasFailed(string output) => output.Contains("failed", StringComparison.OrdinalIgnoreCase);
}
