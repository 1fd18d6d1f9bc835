// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;
using Fleece.Qemu.Sessions;
using Fleece.Qemu.Tests.Agent;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>What others do while a guest is frozen, and what is left of a freeze.</summary>
public sealed class FreezeTests
{
    public static TheoryData<string> Programs => RunningGuest.Programs;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AnothersPauseDuringTheFreezeStays(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        await guest.WithMonitorAsync(async monitor => await TwoDisks.AddBitmapAsync(monitor));
        await guest.WithMonitorAsync(async monitor =>
        {
            TestGuard guard = new(freezes: true) { DuringFreeze = async () => await monitor.StopAsync(Token) };
            BlockException failed =
                await Assert.ThrowsAsync<BlockException>(() => TwoDisks.BuildAsync(monitor, Guid.NewGuid(), guard));
            Assert.Equal(QemuErrors.AgentFailed, failed.Kind);
            Assert.Equal("paused", (await monitor.QueryStatusAsync(Token)).Status);
            Assert.False(guard.IsFrozen);
            Assert.DoesNotContain(await monitor.QueryNodesAsync(Token), node => Part.Of(node) is not null);
        });
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ANodeSaysThatTheGuestMayBeFrozenWhileItIs(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        string before = await guest.StateAsync();
        await guest.WithMonitorAsync(async monitor =>
        {
            bool isMarked = false;
            TestGuard guard = new(freezes: true)
            {
                DuringFreeze = async () => isMarked = (await monitor.QueryNodesAsync(Token)).Any(IsFreeze),
            };
            using FleecingGraph graph = await FleecingGraphTests.BuildAsync(
                monitor, guard, new FleecingRequest { Disk = await RunningGuest.FindAsync(monitor, "sd0") });

            Assert.True(isMarked);
            Assert.DoesNotContain(await monitor.QueryNodesAsync(Token), IsFreeze);
            await graph.RemoveAsync(monitor, 0, [], Token);
        });

        Assert.Equal(before, await guest.StateAsync());

        static bool IsFreeze(QemuNodeReply node) => Part.Of(node)?.Kind == Parts.Frozen;
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task AGuestThatADeadProcessFrozeIsThawedOrTold(bool hasAgent)
    {
        await using FakeAgent agent = new() { IsFrozen = true };
        await using RunningGuest guest = await RunningGuest.StartAsync("qemu-system-x86_64", self => hasAgent
            ? ["-chardev", $"socket,path={self.File("agent")},server=on,wait=off,id=agent", "-device", "virtio-serial",
                "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
            : []);
        if (hasAgent)
        {
            // QEMU goes on naming the path, at which the agent's own socket is now.
            File.Move(agent.SocketPath, guest.File("agent"), overwrite: true);
        }

        await guest.WithMonitorAsync(async monitor => await monitor.AddNodeAsync(
            new JsonObject { ["driver"] = "null-co", ["node-name"] = NodeNames.Of(Guid.NewGuid(), 0, Parts.Frozen) }, Token));

        IReadOnlyList<string> sentences =
            await guest.WithMonitorAsync(async monitor => await DeadSessions.RemoveAsync(monitor, isForced: false, Token));

        Assert.Contains(sentences, sentence => sentence.Contains(
            hasAgent ? "They are thawed." : "run guest-fsfreeze-thaw", StringComparison.Ordinal));
        Assert.Equal(hasAgent ? 1 : 0, agent.Thaws);
        await guest.WithMonitorAsync(async monitor =>
            Assert.DoesNotContain(await monitor.QueryNodesAsync(Token), node => Part.Of(node) is not null));
    }
}
