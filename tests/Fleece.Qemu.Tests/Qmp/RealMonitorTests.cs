// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Qmp;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Qmp;

/// <summary>Connections to the monitors of real QEMUs.</summary>
public sealed class RealMonitorTests
{
    // A command that takes a minute, in which the main loop takes no other.
    private static readonly JsonObject Sleep = new() { ["command-line"] = "qemu-io disk \"sleep 60000\"" };

    // The monitor thread has time to answer on a machine that is busy with other tests.
    private static readonly QmpOptions Hasty = new()
    {
        CommandTimeout = TimeSpan.FromSeconds(1),
        ProbeTimeout = TimeSpan.FromMinutes(5),
    };

    public static TheoryData<string> Programs => Guest.Programs;

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AMonitorGreetsAndAnswers(string program)
    {
        await using Guest guest = Guest.Start(program);
        await using QmpConnection connection = await guest.ConnectAsync();

        QemuStatusReply status = await new QemuMonitor(connection).QueryStatusAsync(Cancelled);

        Assert.Equal(new QemuStatusReply(false, "prelaunch"), status);
        Assert.False(connection.Version.IsBefore(7, 0));
        Assert.True(connection.HasOutOfBand);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task TheUserOfQemuIsKnown(string program)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux tells here.");
        await using Guest guest = Guest.Start(program);
        await using QmpConnection connection = await guest.ConnectAsync();

        string[] status = await File.ReadAllLinesAsync("/proc/self/status", Cancelled);

        Assert.Equal(status.First(line => line.StartsWith("Uid:", StringComparison.Ordinal)).Split('\t')[2], $"{connection.PeerUserId}");
        Assert.Equal(status.First(line => line.StartsWith("Gid:", StringComparison.Ordinal)).Split('\t')[2], $"{connection.PeerGroupId}");
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task TheSchemaTellsCommandsMembersAndOptions(string program)
    {
        await using Guest guest = Guest.Start(program);
        await using QmpConnection connection = await guest.ConnectAsync();

        QmpSchema schema = await QmpSchema.QueryAsync(connection, Cancelled);

        Assert.True(schema.HasCommand("query-qmp-schema"));
        Assert.False(schema.HasCommand("SHUTDOWN"));
        Assert.True(schema.HasMember("blockdev-backup", "filter-node-name"));
        Assert.True(schema.HasDriverOption("copy-before-write", "cbw-timeout"));
        Assert.Equal(!connection.Version.IsBefore(9, 2), schema.HasDriverOption("copy-before-write", "min-cluster-size"));
        Assert.True(schema.HasBranchMember("block-export-add", "nbd", "bitmaps"));
        Assert.True(schema.HasAction("blockdev-backup"));
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ARefusalHasQemusClassAndReason(string program)
    {
        await using Guest guest = Guest.Start(program);
        await using QmpConnection connection = await guest.ConnectAsync();

        BlockException refused = await Assert.ThrowsAsync<BlockException>(
            () => connection.ExecuteAsync("nope", null, Cancelled).AsTask());

        Assert.Equal(QemuErrors.CommandRefused, refused.Kind);
        Assert.Equal(
            new QmpRefusal("nope", QmpRefusal.CommandNotFound, "The command nope has not been found"), QmpRefusal.Of(refused));
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task NamesOfAllKindsOfCharactersComeBack(string program)
    {
        await using Guest guest = Guest.Start(program, "-name", "Gäste \"\\\t🐖");
        await using QmpConnection connection = await guest.ConnectAsync();
        string path = guest.File("Platte \"\\ä🐖.raw");
        await File.WriteAllBytesAsync(path, new byte[4096], Cancelled);
        QemuMonitor monitor = new(connection);

        await monitor.AddNodeAsync(new JsonObject { ["driver"] = "file", ["node-name"] = "disk", ["filename"] = path }, Cancelled);

        Assert.Equal("Gäste \"\\\t🐖", await monitor.QueryNameAsync(Cancelled));
        Assert.Equal(path, Assert.Single(await monitor.QueryNodesAsync(Cancelled)).FilePath);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AChainOfManyImagesIsDescribed(string program)
    {
        Peer.Need("qemu-img");
        const int Length = 65;
        await using Guest guest = Guest.Start(program, "-machine", "pc");
        string path = guest.File("0.qcow2");
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", "qcow2", path, "1M");
        byte[] empty = await File.ReadAllBytesAsync(path, Cancelled);
        await using QmpConnection connection = await guest.ConnectAsync();
        QemuMonitor monitor = new(connection);
        for (int i = 0; i < Length; i++)
        {
            string image = guest.File($"{i}.qcow2");
            await File.WriteAllBytesAsync(image, empty, Cancelled);
            JsonObject options = new()
            {
                ["driver"] = "qcow2",
                ["node-name"] = $"n{i}",
                ["file"] = new JsonObject { ["driver"] = "file", ["filename"] = image },
                ["backing"] = i == 0 ? null : $"n{i - 1}",
            };
            await monitor.AddNodeAsync(options, Cancelled);
        }

        await monitor.RunAsync(
            "device_add", new JsonObject { ["driver"] = "virtio-blk-pci", ["id"] = "virtio0", ["drive"] = $"n{Length - 1}" }, Cancelled);

        Assert.Equal($"n{Length - 1}", Assert.Single(await monitor.QueryDevicesAsync(Cancelled)).NodeName);
        Assert.Equal(2 * Length, (await monitor.QueryNodesAsync(Cancelled)).Count);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ASecondClientIsServedWhenTheFirstHasLeft(string program)
    {
        await using Guest guest = Guest.Start(program);
        QmpConnection first = await guest.ConnectAsync();
        Task<QmpConnection> connecting = guest.ConnectAsync();

        await first.DisposeAsync();

        await using QmpConnection second = await connecting;
        Assert.False((await new QemuMonitor(second).QueryStatusAsync(Cancelled)).IsRunning);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ClientsOfAMonitorThatIsHeldAreRefusedHoweverManyTheyAre(string program)
    {
        await using Guest guest = Guest.Start(program);
        await using QmpConnection first = await guest.ConnectAsync();
        QmpOptions hasty = new() { GreetingTimeout = TimeSpan.FromSeconds(1) };
        Task<QmpConnection>[] connecting = [.. Enumerable.Range(0, 6).Select(_ => guest.ConnectAsync(hasty))];

        foreach (Task<QmpConnection> other in connecting)
        {
            Assert.Equal(QemuErrors.MonitorBusy, (await Assert.ThrowsAsync<BlockException>(() => other)).Kind);
        }

        Assert.False((await new QemuMonitor(first).QueryStatusAsync(Cancelled)).IsRunning);
        await first.DisposeAsync();
        await using QmpConnection next = await guest.ConnectAsync();
        Assert.False((await new QemuMonitor(next).QueryStatusAsync(Cancelled)).IsRunning);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task APrettyMonitorIsRead(string program)
    {
        using TempFolder folder = new();
        await using Guest guest = Guest.Start(program, Monitor(folder.File("pretty"), "control,pretty=on"));
        await using QmpConnection other = await guest.ConnectAsync();

        await using QmpConnection pretty = await QmpConnection.ConnectAsync(folder.File("pretty"), QmpOptions.Default, Cancelled);

        Assert.True((await QmpSchema.QueryAsync(pretty, Cancelled)).HasCommand("stop"));
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AHumanMonitorIsNoQmp(string program)
    {
        using TempFolder folder = new();
        await using Guest guest = Guest.Start(program, Monitor(folder.File("human"), "readline"));
        await using QmpConnection other = await guest.ConnectAsync();

        BlockException failure = await Assert.ThrowsAsync<BlockException>(
            () => QmpConnection.ConnectAsync(folder.File("human"), QmpOptions.Default, Cancelled).AsTask());

        Assert.Equal(QemuErrors.NotQmp, failure.Kind);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AMainLoopThatIsBusyIsToldFromADeadQemu(string program)
    {
        await using Guest guest = Guest.Start(program, "-blockdev", "null-co,node-name=disk");
        await using QmpConnection connection = await guest.ConnectAsync(Hasty);

        BlockException silent = await Assert.ThrowsAsync<BlockException>(
            () => connection.ExecuteAsync("human-monitor-command", Sleep, Cancelled).AsTask());

        Assert.Equal(QemuErrors.MonitorBusy, silent.Kind);
        Assert.Contains("main loop is busy", silent.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AClientThatMeetsABusyMainLoopIsToldSo(string program)
    {
        await using Guest guest = Guest.Start(program, "-blockdev", "null-co,node-name=disk");
        await using QmpConnection first = await guest.ConnectAsync(Hasty);
        await Assert.ThrowsAsync<BlockException>(() => first.ExecuteAsync("human-monitor-command", Sleep, Cancelled).AsTask());
        await first.DisposeAsync();

        BlockException silent = await Assert.ThrowsAsync<BlockException>(() => guest.ConnectAsync(Hasty));

        Assert.Equal(QemuErrors.MonitorBusy, silent.Kind);
        Assert.Equal("qmp_capabilities", silent.Operation);
        Assert.Contains("main loop is busy", silent.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AQemuThatASignalStoppedStandsStill(string program)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no such signal.");
        await using Guest guest = Guest.Start(program);
        await using QmpConnection connection = await guest.ConnectAsync(Hasty with { ProbeTimeout = TimeSpan.FromSeconds(1) });
        await guest.SignalAsync("STOP");

        BlockException silent = await Assert.ThrowsAsync<BlockException>(
            () => connection.ExecuteAsync("query-status", null, Cancelled).AsTask());

        Assert.Equal(QemuErrors.MonitorBusy, silent.Kind);
        Assert.Contains("the whole process stands still", silent.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AQemuThatIsKilledUnderACommandIsGone(string program)
    {
        await using Guest guest = Guest.Start(program, "-blockdev", "null-co,node-name=disk");
        await using QmpConnection connection = await guest.ConnectAsync();
        Task<JsonElement> asking = connection.ExecuteAsync("human-monitor-command", Sleep, Cancelled).AsTask();

        guest.Process.Kill();

        Assert.Equal(QemuErrors.QemuGone, (await Assert.ThrowsAsync<BlockException>(() => asking)).Kind);
        await guest.Process.WaitForExitAsync(Cancelled);
        Assert.Equal(
            QemuErrors.QemuNotRunning,
            (await Assert.ThrowsAsync<BlockException>(
                () => QmpConnection.ConnectAsync(guest.SocketPath, QmpOptions.Default, Cancelled).AsTask())).Kind);
    }

    private static string[] Monitor(string path, string mode) =>
        ["-chardev", $"socket,id=more,path={path},server=on,wait=off", "-mon", $"chardev=more,mode={mode}"];
}
