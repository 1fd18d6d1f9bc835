// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Qemu.Agent;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Sessions;

/// <summary>Removes what dead processes have left in a guest's QEMU, and thaws the guest where one had frozen it.</summary>
internal static class DeadSessions
{
    // An agent that is there answers at once; where its guard lives, the guard holds the agent's socket and thaws by itself.
    private static readonly TimeSpan ThawTime = TimeSpan.FromSeconds(5);

    /// <summary>Does it.</summary>
    /// <returns>Sentences for the user.</returns>
    public static ValueTask<IReadOnlyList<string>> RemoveAsync(
        QemuMonitor monitor, bool isForced, CancellationToken cancellationToken) =>
        LeftOvers.RemoveAsync(monitor, isForced, onlySession: null, token => ThawAsync(monitor, token), cancellationToken);

    private static async ValueTask<string> ThawAsync(QemuMonitor monitor, CancellationToken cancellationToken)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(ThawTime);
        try
        {
            if (await AgentSockets.FindAsync(monitor, cancellationToken).ConfigureAwait(false) is { } path)
            {
                using AgentFreeze freeze = AgentFreeze.Adopt(path);
                _ = await freeze.ThawAsync(limit.Token).ConfigureAwait(false);
                return $"The process had frozen the file systems of the guest at '{monitor.SocketPath}'. They are thawed.";
            }
        }
        catch (BlockException e) when (e.Kind == QemuErrors.AgentFailed)
        {
            // The sentence says what to do.
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // The sentence says what to do.
        }

        return LeftOvers.MayBeFrozen(monitor.SocketPath);
    }
}
