// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>The moment at which a guest stands still, or is frozen, so that bitmaps and filters of all disks change at
/// one instant.</summary>
/// <remarks>
/// A marker node says that the guest was stopped by a session. By it the next cleaning up lets the guest run. A guest that
/// was paused gets no marker and stays paused. Another one says that the guest may be frozen.
/// </remarks>
internal static class GuestPause
{
    /// <summary>Runs the work of the instant.</summary>
    /// <param name="monitor">The guest.</param>
    /// <param name="instantId">The session's instant.</param>
    /// <param name="mustStandStill">True where no write may come in between the steps of the work.</param>
    /// <param name="guard">Freezes where it was asked to, and undoes all when this process dies.</param>
    /// <param name="work">The work.</param>
    /// <param name="longest">The longest pause. QEMU completes and flushes all I/O when it stops, which takes most of it.</param>
    /// <param name="cancellationToken">Ends the attempt; the caller undoes it.</param>
    /// <exception cref="BlockException"><see cref="QemuErrors.PauseTooLong"/>, <see cref="QemuErrors.AgentFailed"/>, or that of a step. The
    /// guest may still be stopped and frozen then.</exception>
    public static async ValueTask<GuestInstant> RunAsync(
        QemuMonitor monitor,
        Guid instantId,
        bool mustStandStill,
        IInstantGuard guard,
        Func<CancellationToken, ValueTask> work,
        TimeSpan longest,
        CancellationToken cancellationToken)
    {
        Stopwatch? freeze = null;
        string frozen = NodeNames.Of(instantId, 0, Parts.Frozen);
        if (guard.Freezes)
        {
            await CheckRunsAsync(monitor, "is paused, so its agent can't freeze its file systems", cancellationToken).ConfigureAwait(false);
            await AddMarkerAsync(monitor, frozen, cancellationToken).ConfigureAwait(false);
            freeze = Stopwatch.StartNew();
            await guard.FreezeAsync(cancellationToken).ConfigureAwait(false);
            await CheckRunsAsync(
                monitor, "was paused by another client while its agent froze its file systems", cancellationToken).ConfigureAwait(false);
        }

        (DateTimeOffset at, TimeSpan? pause) =
            await StandStillAsync(monitor, instantId, mustStandStill, work, longest, cancellationToken).ConfigureAwait(false);
        if (guard.Freezes && !await guard.ThawAsync().ConfigureAwait(false))
        {
            throw new BlockException(
                QemuErrors.AgentFailed,
                $"The file systems of the guest at '{monitor.SocketPath}' had to be thawed before the instant, so the session would not " +
                "be quiet. Give it a longer -FreezeTimeout.",
                monitor.SocketPath);
        }

        freeze?.Stop();
        if (guard.Freezes)
        {
            await monitor.DeleteNodeAsync(frozen, cancellationToken).ConfigureAwait(false);
        }

        return new GuestInstant(at, pause, freeze?.Elapsed);
    }

    /// <summary>Lets a guest run that a session has stopped, and takes the marker away. Idempotent.</summary>
    public static async ValueTask ResumeAsync(QemuMonitor monitor, string marker, CancellationToken cancellationToken)
    {
        if (await monitor.QueryStatusAsync(cancellationToken).ConfigureAwait(false) is { IsRunning: false, Status: "paused" })
        {
            await monitor.ContinueAsync(cancellationToken).ConfigureAwait(false);
        }

        await monitor.DeleteNodeAsync(marker, cancellationToken).ConfigureAwait(false);
    }

    private static ValueTask AddMarkerAsync(QemuMonitor monitor, string marker, CancellationToken cancellationToken) =>
        monitor.AddNodeAsync(new JsonObject { ["driver"] = "null-co", ["node-name"] = marker }, cancellationToken);

    private static async ValueTask CheckRunsAsync(QemuMonitor monitor, string how, CancellationToken cancellationToken)
    {
        if (!(await monitor.QueryStatusAsync(cancellationToken).ConfigureAwait(false)).IsRunning)
        {
            throw new BlockException(
                QemuErrors.AgentFailed,
                $"The guest at '{monitor.SocketPath}' {how}. Let it run, or leave -QuiesceGuest out.",
                monitor.SocketPath);
        }
    }

    private static async ValueTask<(DateTimeOffset At, TimeSpan? Pause)> StandStillAsync(
        QemuMonitor monitor,
        Guid instantId,
        bool mustStandStill,
        Func<CancellationToken, ValueTask> work,
        TimeSpan longest,
        CancellationToken cancellationToken)
    {
        string marker = NodeNames.Of(instantId, 0, Parts.Paused);
        using CancellationTokenSource late = new(longest);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, late.Token);
        try
        {
            // A pause of another client that began before this one is not this session's to end.
            bool stops = mustStandStill && (await monitor.QueryStatusAsync(limit.Token).ConfigureAwait(false)).IsRunning;
            Stopwatch? pause = null;
            if (stops)
            {
                await AddMarkerAsync(monitor, marker, limit.Token).ConfigureAwait(false);
                pause = Stopwatch.StartNew();
                await monitor.StopAsync(limit.Token).ConfigureAwait(false);
            }

            DateTimeOffset at = DateTimeOffset.UtcNow;
            await work(limit.Token).ConfigureAwait(false);
            if (mustStandStill && (await monitor.QueryStatusAsync(limit.Token).ConfigureAwait(false)).IsRunning)
            {
                throw new BlockException(
                    QemuErrors.CommandRefused,
                    $"Another client of the QEMU at '{monitor.SocketPath}' let the guest run while it had to stand still. Try again when " +
                    "that client is done.",
                    monitor.SocketPath);
            }

            if (stops)
            {
                await monitor.ContinueAsync(limit.Token).ConfigureAwait(false);
                pause!.Stop();
                await monitor.DeleteNodeAsync(marker, limit.Token).ConfigureAwait(false);
            }

            return (at, pause?.Elapsed);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new BlockException(
                QemuErrors.PauseTooLong,
                $"The guest at '{monitor.SocketPath}' would have stood still for more than {longest.TotalSeconds:0.#} s, so there is no " +
                "session and it runs on. Its storage is slow: try again when it has less to write.",
                monitor.SocketPath,
                cause: e);
        }
    }
}
