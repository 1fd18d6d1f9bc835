// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Block;
using Fleece.Qemu.Agent;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Agent;

public class AgentFreezeTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_guest_is_frozen_and_thawed()
    {
        await using FakeAgent agent = new();
        using AgentFreeze freeze = await AgentFreeze.PrepareAsync(agent.SocketPath, Token);

        Assert.Equal(2, await freeze.FreezeAsync(Token));
        Assert.True(agent.IsFrozen && freeze.MayBeFrozen);
        Assert.Equal(2, await freeze.ThawAsync(Token));
        Assert.False(agent.IsFrozen || freeze.MayBeFrozen);
    }

    [Fact]
    public async Task Answers_that_arrive_byte_by_byte_are_whole()
    {
        await using FakeAgent agent = new() { PieceBytes = 1 };
        using AgentFreeze freeze = await AgentFreeze.PrepareAsync(agent.SocketPath, Token);

        Assert.Equal(2, await freeze.FreezeAsync(Token));
    }

    [Fact]
    public async Task Half_a_command_and_old_answers_of_an_earlier_client_do_no_harm()
    {
        await using FakeAgent agent = new()
        {
            Leftover = [.. "{\"return\": 7}\n{\"return\": {\"a\n"u8, 0xFF, .. "{\"return\": 7}\n{\"ret"u8],
        };
        agent.SendBefore("{\"execute\": \"guest-fsfreeze-fre");

        using AgentFreeze freeze = await AgentFreeze.PrepareAsync(agent.SocketPath, Token);

        Assert.Equal(2, await freeze.FreezeAsync(Token));
    }

    [Theory]
    [InlineData("{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22}}, \"capabilities\": [\"oob\"]}}\r\n", "the QMP socket")]
    [InlineData("QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ", "the human monitor")]
    public async Task The_socket_of_a_monitor_is_no_agents(string greeting, string name)
    {
        await using FakeAgent agent = new() { IsAbsent = true, Leftover = Encoding.UTF8.GetBytes(greeting) };

        BlockException e = await FailAsync(agent.SocketPath);

        Assert.Contains(name, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_guest_that_is_frozen_by_another_client_is_left_alone()
    {
        await using FakeAgent agent = new() { IsFrozen = true };

        BlockException e = await FailAsync(agent.SocketPath);

        Assert.Contains("another client", e.Message, StringComparison.Ordinal);
        Assert.True(agent.IsFrozen);
    }

    [Theory]
    [InlineData("guest-fsfreeze-freeze")]
    [InlineData("guest-fsfreeze-thaw")]
    public async Task An_agent_whose_freeze_is_disabled_is_not_asked_to(string command)
    {
        await using FakeAgent agent = new() { Disabled = [command] };

        BlockException e = await FailAsync(agent.SocketPath);

        Assert.Contains(command, e.Message, StringComparison.Ordinal);
        Assert.Equal(0, agent.Freezes);
    }

    [Fact]
    public async Task An_absent_agent_is_an_error_that_says_what_it_can_be()
    {
        await using FakeAgent agent = new() { IsAbsent = true };

        BlockException e = await FailAsync(agent.SocketPath);

        Assert.Contains("qemu-guest-agent does not run in the guest, or another program", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_second_client_waits_behind_the_first_one_and_is_told_so()
    {
        await using FakeAgent agent = new();
        using AgentFreeze first = await AgentFreeze.PrepareAsync(agent.SocketPath, Token);

        BlockException e = await FailAsync(agent.SocketPath);

        Assert.Contains("holds the socket", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_socket_where_nothing_listens_is_named()
    {
        using TempFolder folder = new();
        string path = folder.File("none.sock");

        Assert.Contains($"Nothing listens at the guest agent's socket '{path}'", (await FailAsync(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_path_that_is_too_long_for_a_socket_is_an_invalid_argument()
    {
        BlockException e = await Assert.ThrowsAsync<BlockException>(
            async () => await AgentFreeze.PrepareAsync("/" + new string('x', 200), Token));

        Assert.Equal(BlockErrors.InvalidArgument, e.Kind);
    }

    [Theory]
    [InlineData("SSH-2.0-OpenSSH_9.2")]
    [InlineData("[1]")]
    [InlineData("{}")]
    public async Task A_peer_that_turns_to_nonsense_is_no_agent(string nonsense)
    {
        await using FakeAgent agent = new();
        using AgentFreeze freeze = await AgentFreeze.PrepareAsync(agent.SocketPath, Token);
        agent.Nonsense = nonsense;

        BlockException e = await Assert.ThrowsAsync<BlockException>(async () => await freeze.FreezeAsync(Token));

        Assert.Equal(QemuErrors.AgentFailed, e.Kind);
        Assert.Contains("does not speak the guest agent's protocol", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_peer_that_sends_without_end_is_no_agent()
    {
        await using FakeAgent agent = new() { Leftover = new byte[5 << 20] };

        Assert.Contains("more than 4 MiB", (await FailAsync(agent.SocketPath)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_refusal_has_the_agents_reason()
    {
        await using FakeAgent agent = new();
        agent.Refusals["guest-fsfreeze-freeze"] = "failed to freeze /data: Device or resource busy";
        using AgentFreeze freeze = await AgentFreeze.PrepareAsync(agent.SocketPath, Token);

        BlockException e = await Assert.ThrowsAsync<BlockException>(async () => await freeze.FreezeAsync(Token));

        Assert.Contains("failed to freeze /data: Device or resource busy", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_freeze_of_no_file_system_is_an_error()
    {
        await using FakeAgent agent = new() { FileSystems = 0 };
        using AgentFreeze freeze = await AgentFreeze.PrepareAsync(agent.SocketPath, Token);

        BlockException e = await Assert.ThrowsAsync<BlockException>(async () => await freeze.FreezeAsync(Token));

        Assert.Contains("froze no file system", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_guest_is_thawed_although_the_answer_to_its_freeze_never_came()
    {
        TaskCompletionSource held = new();
        await using FakeAgent agent = new() { Before = command => command == "guest-fsfreeze-freeze" ? held.Task : Task.CompletedTask };
        using AgentFreeze freeze = await AgentFreeze.PrepareAsync(agent.SocketPath, Token);
        using CancellationTokenSource impatience = new(TimeSpan.FromMilliseconds(50));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await freeze.FreezeAsync(impatience.Token));

        Task<long> thawing = freeze.ThawAsync(Token).AsTask();
        held.SetResult();

        Assert.Equal(2, await thawing);
        Assert.False(agent.IsFrozen);
    }

    [Fact]
    public async Task A_guest_is_thawed_over_a_new_connection_when_QEMU_closed_the_first()
    {
        await using FakeAgent agent = new();
        using AgentFreeze freeze = await AgentFreeze.PrepareAsync(agent.SocketPath, Token);
        await freeze.FreezeAsync(Token);
        agent.Disconnect();

        Assert.Equal(2, await freeze.ThawAsync(Token));
        Assert.False(agent.IsFrozen);
    }

    [Fact]
    public async Task A_thaw_that_is_refused_is_tried_again()
    {
        await using FakeAgent agent = new();
        using AgentFreeze freeze = await AgentFreeze.PrepareAsync(agent.SocketPath, Token);
        await freeze.FreezeAsync(Token);
        agent.Refusals["guest-fsfreeze-thaw"] = "failed to thaw /";
        agent.Before = command =>
        {
            // The question after the refusal.
            _ = command == "guest-fsfreeze-status" && agent.Refusals.Remove("guest-fsfreeze-thaw");
            return Task.CompletedTask;
        };

        Assert.Equal(2, await freeze.ThawAsync(Token));
        Assert.False(agent.IsFrozen);
    }

    [Fact]
    public async Task A_freeze_that_the_guest_ended_itself_counts_for_nothing()
    {
        await using FakeAgent agent = new();
        using AgentFreeze freeze = await AgentFreeze.PrepareAsync(agent.SocketPath, Token);
        await freeze.FreezeAsync(Token);
        agent.IsFrozen = false;
        agent.Refusals["guest-fsfreeze-thaw"] = "couldn't hold writes: fsfreeze is limited up to 10 seconds";

        Assert.Equal(0, await freeze.ThawAsync(Token));
        Assert.False(freeze.MayBeFrozen);
    }

    private static async Task<BlockException> FailAsync(string path)
    {
        BlockException e = await Assert.ThrowsAsync<BlockException>(async () => await AgentFreeze.PrepareAsync(path, Token));
        Assert.Equal(QemuErrors.AgentFailed, e.Kind);
        return e;
    }
}
