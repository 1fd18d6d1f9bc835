// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Text.Json;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>QEMU's own backup job in a storage daemon: it reads a snapshot over NBD and writes a raw image.</summary>
internal sealed class QemuJob : IAsyncDisposable
{
    private readonly Process _daemon;

    private QemuJob(Process daemon) => _daemon = daemon;

    /// <summary>Starts the job at a speed at which it does not get beyond its first piece.</summary>
    public static async Task<QemuJob> StartThrottledAsync(string snapshotUri, string targetPath)
    {
        Nbd.NbdUri snapshot = Nbd.NbdUri.Parse(snapshotUri);
        QemuJob job = new(Peer.Start(
            "qemu-storage-daemon",
            "--chardev",
            "stdio,id=monitor",
            "--monitor",
            "monitor",
            "--blockdev",
            $"driver=nbd,node-name=snapshot,server.type=unix,server.path={snapshot.SocketPath},export={snapshot.ExportName}",
            "--blockdev",
            $"driver=file,node-name=target,filename={targetPath}"));
        await job.DoAsync("qmp_capabilities");
        await job.DoAsync(
            "blockdev-backup", """{"job-id":"push","device":"snapshot","target":"target","sync":"full","speed":1,"auto-dismiss":false}""");
        return job;
    }

    /// <summary>True while it has more to copy.</summary>
    public async Task<bool> IsRunningAsync()
    {
        JsonElement job = (await DoAsync("query-jobs"))[0];
        return job.GetProperty("status").GetString() == "running" &&
            job.GetProperty("current-progress").GetInt64() < job.GetProperty("total-progress").GetInt64();
    }

    /// <summary>Lets it run at full speed and waits for its end, which must be a good one.</summary>
    public async Task FinishAsync()
    {
        await DoAsync("block-job-set-speed", """{"device":"push","speed":0}""");
        while ((await DoAsync("query-jobs"))[0] is var job)
        {
            if (job.GetProperty("status").GetString() == "concluded")
            {
                Assert.False(job.TryGetProperty("error", out JsonElement error), error.ToString());
                break;
            }

            await Task.Delay(5);
        }

        await DoAsync("quit");
    }

    public async ValueTask DisposeAsync()
    {
        _daemon.StandardInput.Close();
        _daemon.Kill();
        await _daemon.WaitForExitAsync();
        _daemon.Dispose();
    }

    private async Task<JsonElement> DoAsync(string command, string arguments = "{}")
    {
        await _daemon.StandardInput.WriteLineAsync($$"""{"execute":"{{command}}","arguments":{{arguments}}}""");
        await _daemon.StandardInput.FlushAsync();
        while (true)
        {
            string line = await _daemon.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(5)) ??
                throw new InvalidOperationException(await _daemon.StandardError.ReadToEndAsync());
            TestContext.Current.TestOutputHelper?.WriteLine(line);
            using JsonDocument answer = JsonDocument.Parse(line);
            Assert.False(answer.RootElement.TryGetProperty("error", out _), line);
            if (answer.RootElement.TryGetProperty("return", out JsonElement result))
            {
                return result.Clone();
            }
        }
    }
}
