// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Block;

namespace Fleece.Qemu.Agent;

/// <summary>One freeze of a guest's file systems by its agent, and its end.</summary>
/// <remarks>
/// <para>From the moment that the command is sent the guest counts as frozen, whatever the answer is: the agent may have read it. It works
/// on one command at a time, so a thaw that is sent behind a freeze ends that freeze even where its answer never came.</para>
/// <para>Threading. One caller at a time.</para>
/// </remarks>
internal sealed class AgentFreeze : IDisposable
{
    private const string Freeze = "guest-fsfreeze-freeze";
    private const string Thaw = "guest-fsfreeze-thaw";
    private const string Status = "guest-fsfreeze-status";

    // Longer than an agent that works needs for a thaw.
    private static readonly TimeSpan RepeatTime = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan RetryPause = TimeSpan.FromMilliseconds(200);

    private readonly string _socketPath;
    private AgentConnection? _agent;

    private AgentFreeze(string socketPath) => _socketPath = socketPath;

    /// <summary>The agent's socket.</summary>
    public string SocketPath => _socketPath;

    /// <summary>True from when a freeze is sent until a thaw is answered.</summary>
    public bool MayBeFrozen { get; private set; }

    /// <summary>Connects, and sees that the agent can freeze and that nothing is frozen.</summary>
    /// <exception cref="BlockException"><see cref="QemuErrors.AgentFailed"/> with what to do.</exception>
    public static async ValueTask<AgentFreeze> PrepareAsync(string socketPath, CancellationToken cancellationToken)
    {
        AgentFreeze made = new(socketPath);
        try
        {
            AgentConnection agent = made._agent =
                await AgentConnection.ConnectAsync(socketPath, AgentConnection.AnswerTime, cancellationToken).ConfigureAwait(false);
            JsonElement about = await agent.AskAsync("guest-info", cancellationToken).ConfigureAwait(false);

            // An agent whose guest is frozen says of the freeze that it is disabled, so that question comes first.
            if (IsEnabled(about, Status) && await made.IsFrozenAsync(cancellationToken).ConfigureAwait(false))
            {
                throw AgentFailures.FrozenBefore(socketPath);
            }

            return Array.Find([Freeze, Thaw, Status], command => !IsEnabled(about, command)) is { } missing
                ? throw AgentFailures.Unable(socketPath, missing)
                : made;
        }
        catch
        {
            made.Dispose();
            throw;
        }
    }

    /// <summary>The freeze that another process has sent before it ended, so that it can be thawed.</summary>
    public static AgentFreeze Adopt(string socketPath) => new(socketPath) { MayBeFrozen = true };

    /// <summary>Freezes.</summary>
    /// <param name="cancellationToken">Ends the wait. The guest may be frozen then.</param>
    /// <returns>The number of file systems that are frozen, 1 or more.</returns>
    /// <exception cref="BlockException"><see cref="QemuErrors.AgentFailed"/>. The guest may be frozen then, too.</exception>
    public async ValueTask<long> FreezeAsync(CancellationToken cancellationToken)
    {
        AgentConnection agent = _agent ?? throw new InvalidOperationException("the agent's connection was given up");
        MayBeFrozen = true;
        await agent.SendAsync(Freeze, cancellationToken).ConfigureAwait(false);
        AgentAnswer answer = await agent.ReceiveAsync(cancellationToken).ConfigureAwait(false);
        return answer.Error is { } error ? throw AgentFailures.Refused(_socketPath, Freeze, error) :
            CountOf(answer) is > 0 and var count ? count :
            throw AgentFailures.Of(
                _socketPath,
                $"The guest's agent at '{_socketPath}' froze no file system: the guest has none that can be frozen. Leave out " +
                "-QuiesceGuest.");
    }

    /// <summary>Thaws. Tries until the agent has confirmed it.</summary>
    /// <param name="cancellationToken">Ends the attempts. A thaw that was sent may still be run.</param>
    /// <returns>The number of file systems that were frozen until then; 0 where the guest had ended the freeze itself.</returns>
    /// <exception cref="BlockException"><see cref="QemuErrors.AgentFailed"/>: the guest's QEMU has ended.</exception>
    public async ValueTask<long> ThawAsync(CancellationToken cancellationToken)
    {
        for (bool isFirst = true; MayBeFrozen; isFirst = false)
        {
            using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(RepeatTime);
            try
            {
                _agent ??= await AgentConnection
                    .ConnectAsync(_socketPath, AgentConnection.AnswerTime, cancellationToken).ConfigureAwait(false);
                AgentAnswer answer = await SendThawAsync(_agent, isFirst, limit.Token).ConfigureAwait(false);

                // An agent refuses where nothing is frozen any more: that of Windows, whose freeze ends by itself after 10 s.
                if (answer.Error is null || !await IsFrozenAsync(cancellationToken).ConfigureAwait(false))
                {
                    MayBeFrozen = false;
                    return answer.Error is null ? CountOf(answer) : 0;
                }
            }
            catch (BlockException e) when (!IsGone(e))
            {
                GiveUpConnection();
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                // The agent is busy, and then it finds more than one thaw; or it was started anew after it had read the one before.
            }

            await Task.Delay(RetryPause, cancellationToken).ConfigureAwait(false);
        }

        return 0;
    }

    /// <inheritdoc/>
    public void Dispose() => GiveUpConnection();

    private static bool IsEnabled(JsonElement about, string command) =>
        about.ValueKind == JsonValueKind.Object && about.TryGetProperty("supported_commands", out JsonElement commands) &&
        commands.ValueKind == JsonValueKind.Array && commands.EnumerateArray().Any(item =>
            item.ValueKind == JsonValueKind.Object && item.TryGetProperty("name", out JsonElement name) && name.ValueKind ==
            JsonValueKind.String && name.ValueEquals(command) &&
            item.TryGetProperty("enabled", out JsonElement enabled) && enabled.ValueKind == JsonValueKind.True);

    private static long CountOf(AgentAnswer answer) =>
        answer.Return.ValueKind == JsonValueKind.Number && answer.Return.TryGetInt64(out long count) ? count : 0;

    // No process listens any more. A QEMU whose agent's socket has a client accepts the next one later, and the kernel holds it until then.
    private static bool IsGone(BlockException e) => e.InnerException is System.Net.Sockets.SocketException
    {
        SocketErrorCode: System.Net.Sockets.SocketError.ConnectionRefused or System.Net.Sockets.SocketError.AddressNotAvailable,
    };

    private static async ValueTask<AgentAnswer> SendThawAsync(AgentConnection agent, bool isFirst, CancellationToken cancellationToken)
    {
        if (!isFirst)
        {
            await agent.SynchronizeAsync(cancellationToken).ConfigureAwait(false);
        }

        await agent.SendAsync(Thaw, cancellationToken).ConfigureAwait(false);
        return await agent.ReceiveAsync(cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask<bool> IsFrozenAsync(CancellationToken cancellationToken)
    {
        JsonElement status = await _agent!.AskAsync(Status, cancellationToken).ConfigureAwait(false);
        return status.ValueKind != JsonValueKind.String || !status.ValueEquals("thawed");
    }

    private void GiveUpConnection()
    {
        _agent?.Dispose();
        _agent = null;
    }
}
