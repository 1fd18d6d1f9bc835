// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Qemu.Agent;
using Fleece.Qemu.Graph;

namespace Fleece.Qemu.Guard;

/// <summary>A process that stands by while a guest is frozen or paused.</summary>
/// <remarks>
/// <para>The guard has the agent's connection. It thaws the guest at our word, at the end of this process however that comes, and when the
/// freeze has lasted as long as it may. Where the guard itself dies, this process thaws the guest.</para>
/// <para>Threading. One caller at a time. Ownership. The caller disposes it once the guest runs and is thawed; a guard whose guest's agent
/// does not confirm a thaw goes on alone until it does.</para>
/// </remarks>
internal sealed class GuestGuard : IInstantGuard
{
    // A PowerShell starts in half a second. A machine under load may take many times that; nothing is frozen or paused yet.
    private static readonly TimeSpan StartTime = TimeSpan.FromSeconds(60);

    // The guard keeps the limits; these only end the wait for one that does nothing any more.
    private static readonly TimeSpan Margin = AgentConnection.AnswerTime + TimeSpan.FromSeconds(5);
    private static readonly TimeSpan OwnThawTime = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan LongestFreeze = TimeSpan.FromHours(1);

    private readonly GuardHelper _helper;
    private readonly QuiesceOptions? _quiesce;
    private bool _mayBeFrozen;
    private bool _owesFreeze;

    private GuestGuard(GuardHelper helper, QuiesceOptions? quiesce)
    {
        _helper = helper;
        _quiesce = quiesce;
    }

    /// <inheritdoc/>
    public bool Freezes => _quiesce is not null;

    /// <summary>The guard's process.</summary>
    public int ProcessId => _helper.ProcessId;

    /// <summary>Starts a guard. It has connected to the agent when this returns; nothing is frozen yet.</summary>
    /// <param name="program">The program that runs <see cref="GuardProcess"/>.</param>
    /// <param name="task">What it stands by for. The agent's socket is named where it is to freeze.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException"><see cref="QemuErrors.AgentFailed"/> with what to do; <see cref="BlockErrors.InvalidArgument"/>;
    /// <see cref="BlockErrors.IoFailed"/>: the guard does not start.</exception>
    public static async ValueTask<GuestGuard> StartAsync(GuardProgram program, GuardTask task, CancellationToken cancellationToken)
    {
        QuiesceOptions? quiesce = Check(task);
        GuardHelper helper = GuardHelper.Start(program);
        GuestGuard made = new(helper, quiesce);
        try
        {
            await helper.TellAsync(new GuardWord(GuardVerb.Task, task)).ConfigureAwait(false);
            GuardWord? answer = await helper.HearAsync(StartTime, cancellationToken).ConfigureAwait(false);
            return answer switch
            {
                { Verb: GuardVerb.Ready } => made,
                { Verb: GuardVerb.Failed } => throw FailureOf(answer),
                _ => throw new BlockException(
                    BlockErrors.IoFailed,
                    $"The guard of the guest did not start: the program '{program.Path}' " +
                    await helper.DescribeEndAsync().ConfigureAwait(false),
                    operation: "quiesce"),
            };
        }
        catch
        {
            await helper.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask FreezeAsync(CancellationToken cancellationToken)
    {
        QuiesceOptions quiesce = _quiesce ?? throw new InvalidOperationException("the guard has no agent");
        cancellationToken.ThrowIfCancellationRequested();
        _mayBeFrozen = _owesFreeze = true;
        GuardWord? answer = null;
        try
        {
            if (await _helper.TellAsync(new GuardWord(GuardVerb.Freeze)).ConfigureAwait(false))
            {
                answer = await _helper.HearAsync(quiesce.FreezeTimeout + Margin, cancellationToken).ConfigureAwait(false);
                _owesFreeze = false;
            }
        }
        catch (OperationCanceledException)
        {
            await ThawAsync().ConfigureAwait(false);
            throw;
        }

        switch (answer?.Verb)
        {
            case GuardVerb.Frozen:
                return;
            case GuardVerb.Failed:
                // The guard has thawed the guest, or goes on trying to, which the message says.
                _mayBeFrozen = false;
                throw FailureOf(answer);
            default:
                await ThawWithoutGuardAsync().ConfigureAwait(false);
                throw AgentFailures.Of(
                    quiesce.AgentSocketPath!,
                    $"The guard of the guest {await _helper.DescribeEndAsync().ConfigureAwait(false)} The file systems are thawed.");
        }
    }

    /// <inheritdoc/>
    /// <exception cref="BlockException"><see cref="QemuErrors.AgentFailed"/>: the agent has not confirmed the thaw. The guard goes on
    /// trying, and the message says what else to do.</exception>
    public async ValueTask<bool> ThawAsync()
    {
        if (!_mayBeFrozen)
        {
            return true;
        }

        GuardWord? answer = null;
        if (await _helper.TellAsync(new GuardWord(GuardVerb.Thaw)).ConfigureAwait(false))
        {
            do
            {
                answer = await _helper.HearAsync(Margin, CancellationToken.None).ConfigureAwait(false);
            }
            while (answer is not null && IsOfFreeze(answer));
        }

        switch (answer?.Verb)
        {
            case GuardVerb.Thawed:
                _mayBeFrozen = false;
                return answer.IsInTime;
            case GuardVerb.Failed:
                _mayBeFrozen = false;
                throw FailureOf(answer);
            default:
                return await ThawWithoutGuardAsync().ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await ThawAsync().ConfigureAwait(false);
        }
        catch (BlockException)
        {
            // The guard goes on alone.
        }

        await _helper.DisposeAsync().ConfigureAwait(false);
    }

    private static QuiesceOptions? Check(GuardTask task) => task.Quiesce switch
    {
        null => null,
        { AgentSocketPath: null } => throw new BlockException(
            BlockErrors.InvalidArgument,
            "The guest is to be made quiet, and its agent's socket is not known. Name it with -AgentSocketPath."),
        { FreezeTimeout: var time } when time <= TimeSpan.Zero || time > LongestFreeze => throw new BlockException(
            BlockErrors.InvalidArgument,
            $"A guest can't be frozen for {AgentFailures.Text(time)}: -FreezeTimeout is more than 0 s, and at most " +
            $"{AgentFailures.Text(LongestFreeze)}."),
        { } quiesce => quiesce,
    };

    private static BlockException FailureOf(GuardWord word) => new(
        word.Kind ?? QemuErrors.AgentFailed, word.Message ?? "The guard of the guest failed.", operation: "quiesce");

    // The answer to a freeze that was cancelled comes before that to the thaw.
    private bool IsOfFreeze(GuardWord answer)
    {
        bool isOfFreeze = _owesFreeze && answer.Verb is GuardVerb.Frozen or GuardVerb.Failed;
        _owesFreeze = false;
        return isOfFreeze;
    }

    // The guard was killed, or stands still. QEMU closes a dead client's connection, so that this process can have the next one.
    private async ValueTask<bool> ThawWithoutGuardAsync()
    {
        _mayBeFrozen = false;
        _helper.Kill();
        using AgentFreeze freeze = AgentFreeze.Adopt(_quiesce!.AgentSocketPath!);
        using CancellationTokenSource limit = new(OwnThawTime);
        try
        {
            return await freeze.ThawAsync(limit.Token).ConfigureAwait(false) > 0;
        }
        catch (OperationCanceledException)
        {
            throw AgentFailures.Of(
                freeze.SocketPath,
                $"The guard of the guest was killed, and the guest's agent at '{freeze.SocketPath}' did not answer this process within " +
                $"{AgentFailures.Text(OwnThawTime)}. Where the guest stays frozen, {AgentFailures.ThawByHand}");
        }
    }
}
