// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Qemu.Guard;
using Fleece.Qemu.Tests.Agent;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Guard;

public class GuestGuardTests
{
    private const string Freeze = "guest-fsfreeze-freeze", Thaw = "guest-fsfreeze-thaw";
    private static readonly TimeSpan Long = TimeSpan.FromMinutes(5);

    // For a freeze that never comes; and for one that comes, also on a machine under load.
    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan Brief = TimeSpan.FromSeconds(3);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_guest_is_frozen_and_thawed_at_our_word()
    {
        await using FakeAgent agent = new();
        await using GuestGuard guard = await StartAsync(agent, Long);

        Assert.True(guard.Freezes);
        await guard.FreezeAsync(Token);
        Assert.True(agent.IsFrozen);
        Assert.True(await guard.ThawAsync());
        Assert.False(agent.IsFrozen);
    }

    [Fact]
    public async Task A_guest_that_was_never_frozen_is_thawed_without_a_word_to_its_agent()
    {
        await using FakeAgent agent = new();
        await using GuestGuard guard = await StartAsync(agent, Long);

        Assert.True(await guard.ThawAsync());
        Assert.Equal(0, agent.Thaws);
    }

    [Fact]
    public async Task A_guard_that_is_let_go_thaws()
    {
        await using FakeAgent agent = new();
        GuestGuard guard = await StartAsync(agent, Long);
        await guard.FreezeAsync(Token);

        await guard.DisposeAsync();

        Assert.False(agent.IsFrozen);
    }

    [Fact]
    public async Task A_guard_that_is_let_go_leaves_no_process_and_no_zombie()
    {
        await using FakeAgent agent = new();
        GuestGuard guard = await StartAsync(agent, Long);
        await guard.DisposeAsync();

        await Processes.WaitUntilGoneAsync(guard.ProcessId);
    }

    [Fact]
    public async Task A_freeze_ends_by_itself_when_it_has_lasted_as_long_as_it_may_and_the_next_word_tells()
    {
        await using FakeAgent agent = new();
        await using GuestGuard guard = await StartAsync(agent, Brief);
        await guard.FreezeAsync(Token);
        await agent.WaitForAsync(Thaw);

        Assert.False(agent.IsFrozen);
        Assert.False(await guard.ThawAsync());
    }

    [Fact]
    public async Task A_freeze_that_the_guest_ended_itself_was_not_in_time()
    {
        await using FakeAgent agent = new();
        await using GuestGuard guard = await StartAsync(agent, Long);
        await guard.FreezeAsync(Token);
        agent.IsFrozen = false;

        Assert.False(await guard.ThawAsync());
    }

    [Fact]
    public async Task A_freeze_that_hangs_is_an_error_and_thawed_as_soon_as_the_agent_can()
    {
        TaskCompletionSource held = new();
        await using FakeAgent agent = new() { Before = command => command == Freeze ? held.Task : Task.CompletedTask };
        GuestGuard guard = await StartAsync(agent, Short);

        BlockException e = await Assert.ThrowsAsync<BlockException>(async () => await guard.FreezeAsync(Token));

        Assert.Equal(QemuErrors.AgentFailed, e.Kind);
        Assert.Contains("did not freeze the guest within 0.2 s", e.Message, StringComparison.Ordinal);
        Assert.Contains($"The process {guard.ProcessId} waits", e.Message, StringComparison.Ordinal);

        // The guard outlives the one who needed it.
        await guard.DisposeAsync();
        held.SetResult();
        await agent.WaitForAsync(Thaw);
        Assert.False(agent.IsFrozen);
        Assert.Equal(1, agent.Thaws);
        await Processes.WaitUntilGoneAsync(guard.ProcessId);
    }

    [Fact]
    public async Task A_freeze_that_comes_late_is_an_error_that_says_that_the_guest_is_thawed()
    {
        TaskCompletionSource held = new();
        await using FakeAgent agent = new() { Before = command => command == Freeze ? held.Task : Task.CompletedTask };
        await using GuestGuard guard = await StartAsync(agent, Short);
        Task<BlockException> failing = Assert.ThrowsAsync<BlockException>(async () => await guard.FreezeAsync(Token));
        await Task.Delay(2 * Short, Token);
        held.SetResult();

        Assert.EndsWith("Its file systems are thawed.", (await failing).Message, StringComparison.Ordinal);
        Assert.False(agent.IsFrozen);
        Assert.True(await guard.ThawAsync());
    }

    [Fact]
    public async Task A_freeze_that_is_refused_is_an_error_with_the_agents_reason()
    {
        await using FakeAgent agent = new();
        agent.Refusals[Freeze] = "failed to freeze /data: Device or resource busy";
        await using GuestGuard guard = await StartAsync(agent, Long);

        BlockException e = await Assert.ThrowsAsync<BlockException>(async () => await guard.FreezeAsync(Token));

        Assert.Equal(QemuErrors.AgentFailed, e.Kind);
        Assert.Contains("/data: Device or resource busy", e.Message, StringComparison.Ordinal);
        Assert.EndsWith("Its file systems are thawed.", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_freeze_that_is_cancelled_is_thawed()
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
        await using GuestGuard guard = await StartAsync(agent, Long);
        using CancellationTokenSource stop = new();
        Task freezing = guard.FreezeAsync(stop.Token).AsTask();
        await begun.Task;
        await stop.CancelAsync();
        held.SetResult();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => freezing);
        Assert.False(agent.IsFrozen);
        Assert.Equal(agent.Freezes, agent.Thaws);
    }

    [Theory]
    [InlineData(Processes.Kill)]
    [InlineData(Processes.Stop)]
    public async Task A_guest_whose_guard_is_killed_or_stands_still_is_thawed_by_this_process(int signal)
    {
        await using FakeAgent agent = new();
        await using GuestGuard guard = await StartAsync(agent, Long);
        await guard.FreezeAsync(Token);
        Processes.Signal(guard.ProcessId, signal);
        await Processes.WaitUntilStillAsync(guard.ProcessId);

        Assert.True(await guard.ThawAsync());
        Assert.False(agent.IsFrozen);
        await Processes.WaitUntilGoneAsync(guard.ProcessId);
    }

    [Fact]
    public async Task A_guest_whose_guard_is_killed_while_it_freezes_is_thawed_by_this_process()
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
        await using GuestGuard guard = await StartAsync(agent, Long);
        Task<BlockException> failing = Assert.ThrowsAsync<BlockException>(async () => await guard.FreezeAsync(Token));
        await begun.Task;
        Processes.Signal(guard.ProcessId, Processes.Kill);
        held.SetResult();

        Assert.Contains("ended with exit code 137", (await failing).Message, StringComparison.Ordinal);
        Assert.Equal(1, agent.Freezes);
        Assert.False(agent.IsFrozen);
    }

    [Theory]
    [InlineData(Processes.Interrupt)]
    [InlineData(Processes.HangUp)]
    [InlineData(Processes.Terminate)]
    [InlineData(Processes.Quit)]
    public async Task A_guard_outlives_the_signals_that_end_others(int signal)
    {
        await using FakeAgent agent = new();
        await using GuestGuard guard = await StartAsync(agent, Long);
        await guard.FreezeAsync(Token);
        Processes.Signal(guard.ProcessId, signal);

        Assert.True(await guard.ThawAsync());
        Assert.True(Processes.Exists(guard.ProcessId));
    }

    [Fact]
    public async Task A_guard_is_out_of_reach_of_a_terminals_keys()
    {
        await using FakeAgent agent = new();
        await using GuestGuard guard = await StartAsync(agent, Long);

        Assert.Equal(guard.ProcessId, Processes.SessionOf(guard.ProcessId));
    }

    [Fact]
    public async Task A_guard_has_no_socket_of_this_process_and_no_pipe_of_another_guard()
    {
        await using FakeAgent agent = new();
        await using FakeAgent another = new();
        await using GuestGuard first = await StartAsync(agent, Long);
        await using GuestGuard second = await StartAsync(another, Long);

        string[] mine = Processes.DescriptorsOf(Environment.ProcessId), given = Processes.DescriptorsOf(second.ProcessId);
        Assert.DoesNotContain(given.Intersect(mine), descriptor => descriptor.StartsWith("socket:", StringComparison.Ordinal));

        // While the second one has a pipe of the first, this process's death does not end the first one's input.
        string[] pipes = Processes.StandardDescriptorsOf(first.ProcessId);
        Assert.Equal(3, pipes.Count(pipe => pipe.StartsWith("pipe:", StringComparison.Ordinal)));
        Assert.Empty(given.Intersect(pipes));
    }

    [Fact]
    public async Task Guards_do_not_disturb_each_other()
    {
        await using FakeAgent first = new();
        await using FakeAgent second = new();
        await using FakeAgent third = new();
        await using GuestGuard killed = await StartAsync(first, Long);
        await using GuestGuard early = await StartAsync(second, Brief);
        await using GuestGuard last = await StartAsync(third, Long);
        await killed.FreezeAsync(Token);
        await last.FreezeAsync(Token);
        await early.FreezeAsync(Token);
        await second.WaitForAsync(Thaw);
        Processes.Signal(killed.ProcessId, Processes.Kill);
        await Processes.WaitUntilStillAsync(killed.ProcessId);

        Assert.False(await early.ThawAsync());
        Assert.True(await killed.ThawAsync());
        Assert.True(third.IsFrozen);
        Assert.True(await last.ThawAsync());
    }

    [Fact]
    public async Task An_agent_that_is_absent_is_told_before_anything_is_frozen()
    {
        await using FakeAgent agent = new() { IsAbsent = true };

        BlockException e = await Assert.ThrowsAsync<BlockException>(async () => await StartAsync(agent, Long));

        Assert.Equal(QemuErrors.AgentFailed, e.Kind);
        Assert.Contains("did not answer within 5 s", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_program_that_is_no_guard_is_an_error_with_what_it_said()
    {
        await using FakeAgent agent = new();
        GuardProgram program = new("/bin/sh", ["-c", "echo oops >&2; exit 3"]);

        BlockException e = await Assert.ThrowsAsync<BlockException>(
            async () => await GuestGuard.StartAsync(program, TaskOf(agent, Long), Token));

        Assert.Equal(BlockErrors.IoFailed, e.Kind);
        Assert.Contains("'/bin/sh' ended with exit code 3, and said: oops", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_program_that_is_not_there_is_an_error()
    {
        using TempFolder folder = new();
        await using FakeAgent agent = new();

        BlockException e = await Assert.ThrowsAsync<BlockException>(
            async () => await GuestGuard.StartAsync(new GuardProgram(folder.File("none"), []), TaskOf(agent, Long), Token));

        Assert.Equal(BlockErrors.IoFailed, e.Kind);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(3601)]
    public async Task A_freeze_has_a_length(int seconds)
    {
        await using FakeAgent agent = new();

        BlockException e = await Assert.ThrowsAsync<BlockException>(async () => await StartAsync(agent, TimeSpan.FromSeconds(seconds)));

        Assert.Equal(BlockErrors.InvalidArgument, e.Kind);
    }

    private static GuardTask TaskOf(FakeAgent agent, TimeSpan freezeTimeout) =>
        new(null, null, new QuiesceOptions(agent.SocketPath, freezeTimeout));

    private static ValueTask<GuestGuard> StartAsync(FakeAgent agent, TimeSpan freezeTimeout) =>
        GuestGuard.StartAsync(GuardedChild.Program, TaskOf(agent, freezeTimeout), Token);
}
