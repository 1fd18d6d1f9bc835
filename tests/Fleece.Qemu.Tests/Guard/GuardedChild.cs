// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Fleece.Disks;
using Fleece.Qemu.Guard;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Tests.Guard;

/// <summary>A process with a guard, which a test kills at some step: it does a step for each line it reads, and says so.</summary>
internal sealed class GuardedChild : IAsyncDisposable
{
    /// <summary>What makes this program a guard, and the child.</summary>
    public const string GuardVerb = "guard", FreezingVerb = "freezing", PausingVerb = "pausing";

    private readonly Process _process;

    private GuardedChild(Process process) => _process = process;

    /// <summary>This program as a guard: the same code as in a PowerShell, which starts faster.</summary>
    public static GuardProgram Program { get; } = SelfWith(GuardVerb);

    /// <summary>The guard's process.</summary>
    public int GuardId { get; private set; }

    /// <summary>Starts a child whose guard is ready.</summary>
    public static async Task<GuardedChild> StartAsync(string verb, string socketPath)
    {
        GuardProgram self = SelfWith(verb, socketPath);
        GuardedChild child = new(Process.Start(new ProcessStartInfo(self.Path, self.Arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!);
        child.GuardId = int.Parse(await child.HearAsync(), CultureInfo.InvariantCulture);
        return child;
    }

    /// <summary>Lets it do the next step.</summary>
    public Task StepAsync() => _process.StandardInput.WriteLineAsync();

    /// <summary>Waits until the step is done.</summary>
    public async Task<string> HearAsync() =>
        await _process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken)
        ?? throw new EndOfStreamException("the child ended");

    /// <summary>Kills it with SIGKILL.</summary>
    public void Kill() => _process.Kill();

    public async ValueTask DisposeAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    /// <summary>The child's work with a guest's agent.</summary>
    public static async Task RunFreezingAsync(string agentSocketPath)
    {
        GuestGuard guard = await GuestGuard.StartAsync(
            Program, new GuardTask(null, null, new QuiesceOptions(agentSocketPath, TimeSpan.FromMinutes(5))), default);
        Console.WriteLine(guard.ProcessId);
        Console.ReadLine();
        await guard.FreezeAsync(default);
        Console.WriteLine("frozen");
        Console.ReadLine();
        await guard.ThawAsync();
        Console.WriteLine("thawed");
        Console.ReadLine();
        await guard.DisposeAsync();
        Console.WriteLine("done");
        Console.ReadLine();
    }

    /// <summary>The child's work with a guest's QEMU: what a session does before it changes the graph.</summary>
    public static async Task RunPausingAsync(string qmpSocketPath)
    {
        Guid instantId = Guid.NewGuid();
        GuestGuard guard = await GuestGuard.StartAsync(
            Program, new GuardTask(qmpSocketPath, NodeNames.SessionOf(instantId), null), default);
        Console.WriteLine(guard.ProcessId);
        Console.ReadLine();
        QmpConnection connection = await QmpConnection.ConnectAsync(qmpSocketPath, QmpOptions.Default, default);
        QemuMonitor monitor = new(connection);
        await monitor.AddNodeAsync(
            new JsonObject { ["driver"] = "null-co", ["node-name"] = NodeNames.Of(instantId, 0, Parts.Paused) }, default);
        await monitor.StopAsync(default);
        Console.WriteLine("paused");
        Console.ReadLine();
    }

    private static GuardProgram SelfWith(params string[] arguments)
    {
        string program = Environment.ProcessPath!;
        return Path.GetFileNameWithoutExtension(program) == "dotnet"
            ? new GuardProgram(program, [typeof(GuardedChild).Assembly.Location, .. arguments])
            : new GuardProgram(program, arguments);
    }
}
