// SPDX-License-Identifier: MIT
using Fleece.Qemu.Qmp;
using Fleece.Qemu.Tests.Agent;
using Fleece.Qemu.Tests.Qmp;

namespace Fleece.Qemu.Tests.Guard;

/// <summary>The process that has a guard is killed with SIGKILL.</summary>
public class DeadOwnerTests
{
    private const string Freeze = "guest-fsfreeze-freeze", Thaw = "guest-fsfreeze-thaw";

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Before_the_freeze_nothing_is_frozen()
    {
        await using FakeAgent agent = new();
        await using GuardedChild child = await GuardedChild.StartAsync(GuardedChild.FreezingVerb, agent.SocketPath);
        child.Kill();

        await Processes.WaitUntilEndedAsync(child.GuardId);
        Assert.Equal((0, 0), (agent.Freezes, agent.Thaws));
    }

    [Fact]
    public async Task While_the_agent_freezes_it_is_thawed_as_soon_as_it_is_frozen()
    {
        TaskCompletionSource begun = new(), held = new();
        await using FakeAgent agent = new()
        {
            Before = command =>
            {
                _ = command == Freeze && begun.TrySetResult();
                return command == Freeze ? held.Task : Task.CompletedTask;
            },
        };
        await using GuardedChild child = await GuardedChild.StartAsync(GuardedChild.FreezingVerb, agent.SocketPath);
        await child.StepAsync();
        await begun.Task;
        child.Kill();
        held.SetResult();

        await agent.WaitForAsync(Thaw);
        Assert.Equal((1, 1), (agent.Freezes, agent.Thaws));
        await Processes.WaitUntilEndedAsync(child.GuardId);
    }

    [Fact]
    public async Task While_it_is_frozen_it_is_thawed()
    {
        await using FakeAgent agent = new();
        await using GuardedChild child = await GuardedChild.StartAsync(GuardedChild.FreezingVerb, agent.SocketPath);
        await child.StepAsync();
        Assert.Equal("frozen", await child.HearAsync());
        Assert.True(agent.IsFrozen);
        child.Kill();

        await agent.WaitForAsync(Thaw);
        Assert.False(agent.IsFrozen);
        await Processes.WaitUntilEndedAsync(child.GuardId);
    }

    [Fact]
    public async Task While_the_agent_thaws_the_thaw_is_completed()
    {
        TaskCompletionSource begun = new(), held = new();
        await using FakeAgent agent = new()
        {
            Before = command =>
            {
                _ = command == Thaw && begun.TrySetResult();
                return command == Thaw ? held.Task : Task.CompletedTask;
            },
        };
        await using GuardedChild child = await GuardedChild.StartAsync(GuardedChild.FreezingVerb, agent.SocketPath);
        await child.StepAsync();
        Assert.Equal("frozen", await child.HearAsync());
        await child.StepAsync();
        await begun.Task;
        child.Kill();
        Assert.True(Processes.Exists(child.GuardId));
        held.SetResult();

        await agent.WaitForAsync(Thaw);
        Assert.Equal((1, 1), (agent.Freezes, agent.Thaws));
        await Processes.WaitUntilEndedAsync(child.GuardId);
    }

    [Fact]
    public async Task After_the_thaw_nothing_more_is_sent()
    {
        await using FakeAgent agent = new();
        await using GuardedChild child = await GuardedChild.StartAsync(GuardedChild.FreezingVerb, agent.SocketPath);
        await child.StepAsync();
        Assert.Equal("frozen", await child.HearAsync());
        await child.StepAsync();
        Assert.Equal("thawed", await child.HearAsync());
        child.Kill();

        await Processes.WaitUntilEndedAsync(child.GuardId);
        Assert.Equal((1, 1), (agent.Freezes, agent.Thaws));
    }

    [Theory]
    [MemberData(nameof(Guest.Programs), MemberType = typeof(Guest))]
    public async Task A_guest_that_stands_still_for_a_session_runs_again(string program)
    {
        await using Guest guest = Guest.Start(program);
        await (await guest.ConnectAsync()).DisposeAsync();
        await OverMonitorAsync(guest, monitor => monitor.ContinueAsync(Token));
        await using GuardedChild child = await GuardedChild.StartAsync(GuardedChild.PausingVerb, guest.SocketPath);
        await child.StepAsync();
        Assert.Equal("paused", await child.HearAsync());
        child.Kill();

        await Processes.WaitUntilEndedAsync(child.GuardId);
        await OverMonitorAsync(guest, async monitor =>
        {
            Assert.True((await monitor.QueryStatusAsync(Token)).IsRunning);
            Assert.Empty(await monitor.QueryNodesAsync(Token));
        });
    }

    private static async Task OverMonitorAsync(Guest guest, Func<QemuMonitor, ValueTask> work)
    {
        await using QmpConnection connection = await guest.ConnectAsync();
        await work(new QemuMonitor(connection));
    }
}
