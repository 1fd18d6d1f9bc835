// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Qemu.Agent;

namespace Fleece.Qemu.Guard;

/// <summary>What a guard does from its task to its end.</summary>
/// <param name="owner">The words of the process that is guarded, a line each. Their end without a "done" is that process's death.</param>
/// <param name="answers">Where the guard's words go.</param>
/// <param name="removeSessionAsync">Takes a dead process's session out of QEMU, and lets the guest go on.</param>
internal sealed class GuardDuty(TextReader owner, TextWriter answers, Func<GuardTask, Task> removeSessionAsync) : IDisposable
{
    // Windows gives a freeze up after 60 s (VSS), and an administrator's scripts in the guest take as long as they like. While the agent is
    // busy with them, the thaw waits in the connection, which must stay open.
    private static readonly TimeSpan ThawPatience = TimeSpan.FromMinutes(10);

    private readonly CancellationTokenSource _end = new();
    private Task<GuardWord?>? _next;
    private AgentFreeze? _freeze;
    private TimeSpan _timeout;
    private Task? _limit;
    private Task<long>? _thawing;
    private bool _isEarly;

    // The word that comes next, or has come and is not taken yet.
    private Task<GuardWord?> Next => _next ??= HearAsync();

    /// <summary>Does it. Returns when the guest is thawed and the owner is done or dead.</summary>
    public async Task RunAsync()
    {
        if (await TakeAsync().ConfigureAwait(false) is not { Verb: GuardVerb.Task, Task: { } task })
        {
            return;
        }

        try
        {
            await PrepareAsync(task).ConfigureAwait(false);
        }
        catch (BlockException e)
        {
            await TellAsync(GuardWord.Failure(e)).ConfigureAwait(false);
            return;
        }

        await TellAsync(new GuardWord(GuardVerb.Ready)).ConfigureAwait(false);
        bool isDone = await ServeAsync().ConfigureAwait(false);

        // A monitor that is slow must not delay the thaw, nor an agent the end of a pause.
        BeginThaw();
        Task removing = isDone ? Task.CompletedTask : removeSessionAsync(task);
        await Task.WhenAll(EndThawAsync(), removing).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _end.Dispose();
        _freeze?.Dispose();
    }

    private async ValueTask PrepareAsync(GuardTask task)
    {
        if (task.Quiesce is { AgentSocketPath: { } path } quiesce)
        {
            _timeout = quiesce.FreezeTimeout;
            _freeze = await AgentFreeze.PrepareAsync(path, CancellationToken.None).ConfigureAwait(false);
        }
    }

    // False when the owner ended without a word.
    private async Task<bool> ServeAsync()
    {
        while (true)
        {
            if (_limit is not null && _thawing is null && await Task.WhenAny(Next, _limit).ConfigureAwait(false) == _limit)
            {
                _isEarly = true;
                BeginThaw();
            }

            switch ((await TakeAsync().ConfigureAwait(false))?.Verb)
            {
                case null:
                    return false;
                case GuardVerb.Done:
                    return true;
                case GuardVerb.Freeze when _freeze is { MayBeFrozen: false }:
                    await FreezeAsync(_freeze).ConfigureAwait(false);
                    break;
                case GuardVerb.Thaw:
                    await ThawAsync().ConfigureAwait(false);
                    break;
            }
        }
    }

    private async Task FreezeAsync(AgentFreeze freeze)
    {
        _limit = Task.Delay(_timeout);
        using CancellationTokenSource abandon = new();
        Task<long> freezing = freeze.FreezeAsync(abandon.Token).AsTask();
        await Task.WhenAny(freezing, Next, _limit).ConfigureAwait(false);
        if (!freezing.IsCompleted)
        {
            await abandon.CancelAsync().ConfigureAwait(false);
        }

        string reason;
        try
        {
            await freezing.ConfigureAwait(false);
            await TellAsync(new GuardWord(GuardVerb.Frozen)).ConfigureAwait(false);
            return;
        }
        catch (OperationCanceledException)
        {
            reason = $"The guest's agent at '{freeze.SocketPath}' did not freeze the guest within {AgentFailures.Text(_timeout)}. A " +
                "guest that has much to write, or scripts of its own for a freeze, needs a longer -FreezeTimeout.";
        }
        catch (BlockException e)
        {
            reason = e.Message;
        }

        BeginThaw();
        string end = await WaitForThawAsync().ConfigureAwait(false) ?? "Its file systems are thawed.";
        await TellAsync(GuardWord.Failure(AgentFailures.Of(freeze.SocketPath, $"{reason} {end}"))).ConfigureAwait(false);
    }

    private async Task ThawAsync()
    {
        BeginThaw();
        string? fault = await WaitForThawAsync().ConfigureAwait(false);
        await TellAsync(fault is null
            ? new GuardWord(GuardVerb.Thawed, IsInTime: !_isEarly && (_thawing is null || await _thawing.ConfigureAwait(false) > 0))
            : GuardWord.Failure(AgentFailures.Of(
                _freeze!.SocketPath, $"The guest's agent at '{_freeze.SocketPath}' has not thawed the guest. {fault}")))
            .ConfigureAwait(false);
    }

    private void BeginThaw()
    {
        if (_thawing is null && _freeze is { MayBeFrozen: true })
        {
            _end.CancelAfter(ThawPatience);
            _thawing = _freeze.ThawAsync(_end.Token).AsTask();
        }
    }

    // Null when the guest is thawed; else how it stands. The owner's death ends the wait, for then nothing is to be told.
    private async Task<string?> WaitForThawAsync()
    {
        if (_thawing is null)
        {
            return null;
        }

        await Task.WhenAny(_thawing, Task.Delay(AgentConnection.AnswerTime), OwnersDeathAsync()).ConfigureAwait(false);
        return _thawing.IsCompletedSuccessfully ? null : _thawing.IsCompleted
            ? $"A guest that runs still may be frozen: {AgentFailures.ThawByHand}"
            : $"The thaw was sent and is not confirmed. The process {Environment.ProcessId} waits for that for up to " +
                $"{ThawPatience.TotalMinutes} minutes. Where the guest stays frozen, {AgentFailures.ThawByHand}";
    }

    private async Task OwnersDeathAsync()
    {
        if (await Next.ConfigureAwait(false) is not null)
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, _end.Token).ConfigureAwait(false);
        }
    }

    private async Task EndThawAsync()
    {
        try
        {
            await (_thawing ?? Task.FromResult(0L)).ConfigureAwait(false);
        }
        catch (Exception e) when (e is BlockException or OperationCanceledException)
        {
            // QEMU has ended, or the agent was silent all the time. There is nothing left to try.
        }
    }

    private async Task<GuardWord?> TakeAsync()
    {
        GuardWord? word = await Next.ConfigureAwait(false);
        _next = null;
        return word;
    }

    private async Task<GuardWord?> HearAsync()
    {
        try
        {
            while (await owner.ReadLineAsync().ConfigureAwait(false) is { } line)
            {
                if (GuardWord.TryParse(line) is { } word)
                {
                    return word;
                }
            }

            return null;
        }
        catch (IOException)
        {
            return null;
        }
    }

    private async Task TellAsync(GuardWord word)
    {
        try
        {
            await answers.WriteLineAsync(word.ToLine()).ConfigureAwait(false);
            await answers.FlushAsync().ConfigureAwait(false);
        }
        catch (IOException)
        {
            // The owner is dead, which the end of its words tells.
        }
    }
}
