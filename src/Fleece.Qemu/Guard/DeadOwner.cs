// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Fleece.Block;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Guard;

/// <summary>The process that a guard was started by, when it has died: its session is taken out of QEMU, and the guest goes on.</summary>
internal sealed partial class DeadOwner
{
    // The kernel closes a dead process's files, which the guard sees, a moment before it gives its children another parent.
    private static readonly TimeSpan DeathTime = TimeSpan.FromSeconds(5);

    // Another client may hold the monitor for a while, and so may QEMU's own storage.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);
    private static readonly TimeSpan RetryPause = TimeSpan.FromMilliseconds(50);

    private readonly int _owner = CurrentParent();

    /// <summary>Removes its session.</summary>
    /// <remarks>A guest that the session has stopped runs first. The next command for that guest removes the rest.</remarks>
    public async Task RemoveSessionAsync(GuardTask task)
    {
        if (task is not { QmpSocketPath: { } socketPath, Session: { } session })
        {
            return;
        }

        bool isDead = await IsDeadAsync().ConfigureAwait(false);
        using CancellationTokenSource limit = new(Patience);
        while (!limit.IsCancellationRequested &&
            !await TryRemoveAsync(socketPath, session, isDead, limit.Token).ConfigureAwait(false))
        {
            await Task.Delay(RetryPause).ConfigureAwait(false);
        }
    }

    private static async ValueTask<bool> TryRemoveAsync(
        string socketPath, string session, bool isDead, CancellationToken cancellationToken)
    {
        try
        {
            QmpConnection connection =
                await QmpConnection.ConnectAsync(socketPath, QmpOptions.Default, cancellationToken).ConfigureAwait(false);
            await using (connection.ConfigureAwait(false))
            {
                // A session whose owner lives after all has its lock, and is left alone.
                QemuMonitor monitor = new(connection);
                await LeftOvers.RemoveAsync(monitor, isForced: isDead, session, cancellationToken).ConfigureAwait(false);
                return true;
            }
        }
        catch (BlockException e)
        {
            return e.Kind == QemuErrors.QemuNotRunning;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private async ValueTask<bool> IsDeadAsync()
    {
        using CancellationTokenSource limit = new(DeathTime);
        while (CurrentParent() == _owner && !limit.IsCancellationRequested)
        {
            await Task.Delay(RetryPause).ConfigureAwait(false);
        }

        return CurrentParent() != _owner;
    }

    private static int CurrentParent() => OperatingSystem.IsWindows() ? 0 : ParentId();

    // getppid(2). An orphan's parent is another process.
    [LibraryImport("libc", EntryPoint = "getppid")]
    private static partial int ParentId();
}
