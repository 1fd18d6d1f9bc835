// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>Undoes a graph that failed to be built: the guest runs first, then it is thawed, then everything is taken out.</summary>
internal static class BuildUndo
{
    // Longer than a connection waits by itself: until this is done the guest may stand still.
    private static readonly QmpOptions Patient = new() { GreetingTimeout = TimeSpan.FromSeconds(60) };

    /// <summary>Makes sure that the undo would take out nothing of another session.</summary>
    public static async ValueTask CheckNameIsFreeAsync(QemuMonitor monitor, string session, CancellationToken cancellationToken)
    {
        if ((await monitor.QueryNodesAsync(cancellationToken).ConfigureAwait(false))
            .Any(node => NodeNames.TryParse(node.Name, out string? taken, out _, out _) && taken == session))
        {
            throw new BlockException(
                BlockErrors.InUse,
                $"The QEMU at '{monitor.SocketPath}' has a session with the id {session} already. Try again: a new one gets another id.",
                monitor.SocketPath);
        }
    }

    /// <summary>Undoes all.</summary>
    /// <returns>The failure, or one that also says what is left.</returns>
    public static async ValueTask<Exception> RunAsync(
        QemuMonitor monitor,
        Guid instantId,
        IInstantGuard guard,
        IReadOnlyList<FleecingTemp> temps,
        string? serverFolder,
        Exception failure)
    {
        string session = NodeNames.SessionOf(instantId);
        QmpConnection? own = null;
        try
        {
            (QemuMonitor? usable, own) = await ReachAsync(monitor).ConfigureAwait(false);
            if (usable is not null)
            {
                SessionRemoval removal = new(usable, session);
                await removal.ResumeAsync(CancellationToken.None).ConfigureAwait(false);
                BlockException? frozen = await ThawAsync(guard).ConfigureAwait(false);
                if (frozen is null)
                {
                    await removal.ForgetFreezeAsync(CancellationToken.None).ConfigureAwait(false);
                }

                await removal.RunAsync(null, [], CancellationToken.None).ConfigureAwait(false);
                _ = await BitmapFolds
                    .RunAsync(usable, id => NodeNames.SessionOf(id) != session, CancellationToken.None).ConfigureAwait(false);
                if (frozen is not null)
                {
                    failure = new BlockException(
                        QemuErrors.AgentFailed, $"{failure.Message} {frozen.Message}", monitor.SocketPath, cause: failure);
                }
            }

            foreach (FleecingTemp temp in temps)
            {
                FileNames.Delete(temp.Path);
            }

            PrivateServer.LeaveFolder(serverFolder, session);
            return failure;
        }
        catch (BlockException e)
        {
            string kind = failure is BlockException block ? block.Kind : e.Kind;
            return new BlockException(
                kind,
                $"{failure.Message} What had been added to the QEMU at '{monitor.SocketPath}' could not all be taken out: {e.Message} " +
                "Stop-FleeceSession -QmpSocketPath ... -Force does it when the monitor answers.",
                monitor.SocketPath,
                cause: failure);
        }
        finally
        {
            _ = await guard.ThawAsync().ConfigureAwait(false);
            foreach (FleecingTemp temp in temps)
            {
                temp.Dispose();
            }

            if (own is not null)
            {
                await own.DisposeAsync().ConfigureAwait(false);
            }
        }
    }

    // Null when the guest is thawed.
    private static async ValueTask<BlockException?> ThawAsync(IInstantGuard guard)
    {
        try
        {
            _ = await guard.ThawAsync().ConfigureAwait(false);
            return null;
        }
        catch (BlockException e)
        {
            return e;
        }
    }

    // A command that was cancelled or lost its answer has used the connection up, and QEMU serves one at a time. A new one is served when
    // QEMU is done with that command, so what it finds is final. Null where QEMU is gone.
    private static async ValueTask<(QemuMonitor? Usable, QmpConnection? Own)> ReachAsync(QemuMonitor monitor)
    {
        try
        {
            _ = await monitor.QueryStatusAsync(CancellationToken.None).ConfigureAwait(false);
            return (monitor, null);
        }
        catch (BlockException)
        {
            if (monitor.Channel is IAsyncDisposable used)
            {
                await used.DisposeAsync().ConfigureAwait(false);
            }
        }

        try
        {
            QmpConnection own = await QmpConnection
                .ConnectAsync(monitor.SocketPath, Patient, CancellationToken.None).ConfigureAwait(false);
            return (new QemuMonitor(own), own);
        }
        catch (BlockException e) when (e.Kind == QemuErrors.QemuNotRunning)
        {
            return (null, null);
        }
    }
}
