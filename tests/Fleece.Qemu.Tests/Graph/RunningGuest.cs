// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>A real QEMU whose guest runs its firmware, with two disks of 8 MiB: virtio0 on qcow2, sd0 on raw. It ends
/// with the test.</summary>
internal sealed class RunningGuest : IAsyncDisposable
{
    private static readonly string[] Questions =
        ["query-named-block-nodes", "query-block", "query-block-exports", "query-block-jobs", "query-status"];

    // The guest's driver chooses "writeback" when it begins to use the device.
    private static readonly string[] Counters = ["actual-size", "count", "writeback"];

    private readonly TempFolder _folder = new();
    private readonly Task<string> _output;
    private readonly Task<string> _errors;

    private RunningGuest(string program, string[] setPriv, Func<RunningGuest, string[]> more)
    {
        using (Process create = Peer.Start("qemu-img", ["create", "-q", "-f", "qcow2", File("a.qcow2"), "8M"]))
        {
            create.WaitForExit();
        }

        using (FileStream raw = System.IO.File.Create(File("b.raw")))
        {
            raw.SetLength(8 << 20);
        }

        string[] arguments =
        [
            "-nodefaults", "-display", "none", "-machine", "q35", "-m", "32", "-name", "web",
            "-qmp", $"unix:{SocketPath},server=on,wait=off",
            "-blockdev", $"driver=qcow2,node-name=a,file.driver=file,file.filename={File("a.qcow2")}",
            "-blockdev", $"driver=raw,node-name=b,file.driver=file,file.filename={File("b.raw")}",
            .. more(this),
        ];
        Process = setPriv.Length == 0 ? Peer.Start(program, arguments) : Peer.Start(setPriv[0], [.. setPriv[1..], program, .. arguments]);
        (_output, _errors) = (Process.StandardOutput.ReadToEndAsync(), Process.StandardError.ReadToEndAsync());
    }

    /// <summary>Debian 12's QEMU from PATH, and the one that QEMU10_SYSTEM names.</summary>
    public static TheoryData<string> Programs => ["qemu-system-x86_64", "$QEMU10_SYSTEM"];

    public Process Process { get; }

    public string SocketPath => _folder.File("qmp");

    public string Folder => _folder.Path;

    public string File(string name) => _folder.File(name);

    /// <summary>Starts QEMU; skips the test where the program is missing.</summary>
    public static async Task<RunningGuest> StartAsync(
        string program, Func<RunningGuest, string[]>? more = null, string[]? setPriv = null, Action<RunningGuest>? prepare = null)
    {
        if (program.StartsWith('$'))
        {
            string? named = Environment.GetEnvironmentVariable(program[1..]);
            Assert.SkipWhen(string.IsNullOrEmpty(named), $"{program} names no other QEMU");
            program = named!;
        }

        Peer.Need([program, "qemu-img", .. setPriv is null ? [] : setPriv[..1]]);
        RunningGuest guest = new(
            program,
            setPriv ?? [],
            self =>
            {
                prepare?.Invoke(self);
                return more?.Invoke(self) ?? [
                    "-device", "virtio-blk-pci,drive=a,id=virtio0", "-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=b,id=sd0"];
            });
        while (!await guest.ListensAsync())
        {
            Assert.False(guest.Process.HasExited, $"{program} ended");
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        return guest;
    }

    public async Task<QmpConnection> ConnectAsync() =>
        await QmpConnection.ConnectAsync(SocketPath, QmpOptions.Default, TestContext.Current.CancellationToken);

    // A socket's file is there a moment before it listens.
    private async Task<bool> ListensAsync()
    {
        try
        {
            await using QmpConnection connection = await ConnectAsync();
            return true;
        }
        catch (BlockException e) when (e.Kind == QemuErrors.QemuNotRunning)
        {
            return false;
        }
    }

    /// <summary>Works with the monitor and lets it go.</summary>
    public async Task<T> WithMonitorAsync<T>(Func<QemuMonitor, Task<T>> work)
    {
        await using QmpConnection connection = await ConnectAsync();
        return await work(new QemuMonitor(connection));
    }

    public Task WithMonitorAsync(Func<QemuMonitor, Task> work) => WithMonitorAsync(async monitor =>
    {
        await work(monitor);
        return 0;
    });

    /// <summary>What must be equal before and after a session: nodes, devices, exports, jobs, and whether the guest runs.</summary>
    public Task<string> StateAsync() => WithMonitorAsync(async monitor =>
    {
        JsonObject state = [];
        foreach (string question in Questions)
        {
            JsonElement answer = await monitor.AskAsync(
                question, question == "query-named-block-nodes" ? new JsonObject { ["flat"] = true } : null,
                TestContext.Current.CancellationToken);
            state[question] = WithoutCounters(JsonNode.Parse(answer.GetRawText()));
        }

        return state.ToJsonString(new JsonSerializerOptions { WriteIndented = true });
    });

    /// <summary>The guest writes 64 KiB of a byte. <see cref="QuitAsync"/> tells an I/O error.</summary>
    public static Task WriteAsync(QemuMonitor monitor, string device, int cluster, int value) =>
        DriveAsync(monitor, device, $"write -P {value} {cluster * 64}k 64k");

    /// <summary>The guest reads 64 KiB and expects a byte. <see cref="QuitAsync"/> tells other bytes and an I/O error.</summary>
    public static Task ReadAsync(QemuMonitor monitor, string device, int cluster, int value) =>
        DriveAsync(monitor, device, $"read -P {value} {cluster * 64}k 64k");

    /// <summary>Ends QEMU, and fails the test where a request of the guest's failed or read other bytes than expected.</summary>
    public async Task QuitAsync()
    {
        await WithMonitorAsync(monitor => monitor.RunAsync("quit", null, TestContext.Current.CancellationToken).AsTask());
        await Process.WaitForExitAsync(TestContext.Current.CancellationToken);
        string output = await _output + await _errors;
        Assert.Equal(0, Process.ExitCode);
        Assert.DoesNotContain("failed", output, StringComparison.Ordinal);
    }

    // qemu-io through the device's backend, as the guest's own requests go. It prints to QEMU's output, which QEMU flushes at its end.
    private static async Task DriveAsync(QemuMonitor monitor, string device, string command)
    {
        string qdev = QomProperties.PathOf((await FindAsync(monitor, device)).Reply.QomPath!);
        JsonElement answer = await monitor.AskAsync(
            "human-monitor-command",
            new JsonObject { ["command-line"] = $"qemu-io -d {qdev} \"{command}\"" },
            TestContext.Current.CancellationToken);
        Assert.Equal(string.Empty, answer.GetString());
    }

    public static async Task<QemuDisk> FindAsync(QemuMonitor monitor, string device) =>
        (await GuestDisks.QueryAsync(monitor, TestContext.Current.CancellationToken)).Find(device);

    /// <summary>Bytes of a snapshot or a disk by qemu-io; the test fails where they are others.</summary>
    public static async Task ExpectAsync(string uri, int cluster, int value)
    {
        string output = await Peer.RunAsync("qemu-io", "-r", "-f", "raw", "-c", $"read -P {value} {cluster * 64}k 64k", uri);
        Assert.DoesNotContain("failed", output, StringComparison.Ordinal);
    }

    public async ValueTask DisposeAsync()
    {
        if (!Process.HasExited)
        {
            Process.Kill(entireProcessTree: true);
        }

        await Process.WaitForExitAsync(CancellationToken.None);
        Process.Dispose();
        _folder.Dispose();
    }

    private static JsonNode? WithoutCounters(JsonNode? node)
    {
        switch (node)
        {
            case JsonObject item:
                foreach (string counter in Counters)
                {
                    _ = item.Remove(counter);
                }

                foreach ((_, JsonNode? value) in item)
                {
                    _ = WithoutCounters(value);
                }

                break;
            case JsonArray list:
                foreach (JsonNode? value in list)
                {
                    _ = WithoutCounters(value);
                }

                break;
        }

        return node;
    }
}
