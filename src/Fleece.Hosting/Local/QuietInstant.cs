// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Qemu;
using Fleece.Qemu.Guard;

namespace Fleece.Hosting.Local;

/// <summary>Begins sessions of mounted disks while their guest's agent keeps its file systems frozen.</summary>
/// <param name="guard">The program of the process that thaws them whatever happens to this one.</param>
internal sealed class QuietInstant(Func<GuardProgram> guard)
{
    /// <summary>Freezes, begins the sessions, and thaws.</summary>
    /// <param name="quiesce">How; null to begin them without.</param>
    /// <param name="begin">Begins them.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException"><see cref="QemuErrors.AgentFailed"/>; <see cref="BlockErrors.InvalidArgument"/>: no agent is
    /// named; or why the sessions can't begin. None has begun then, and the file systems are thawed.</exception>
    public async ValueTask<IReadOnlyList<T>> BeginAsync<T>(
        QuiesceOptions? quiesce, Func<ValueTask<IReadOnlyList<T>>> begin, CancellationToken cancellationToken)
        where T : IFleeceSession
    {
        if (quiesce is null)
        {
            return await begin().ConfigureAwait(false);
        }

        if (quiesce.AgentSocketPath is null)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                "Nothing tells where the agent of a mounted disk's guest listens. Give its socket with -AgentSocketPath.");
        }

        GuestGuard standingBy = await GuestGuard.StartAsync(
            guard(), new GuardTask(QmpSocketPath: null, Session: null, quiesce), cancellationToken).ConfigureAwait(false);
        IReadOnlyList<T> sessions = [];
        try
        {
            bool isQuiet;
            try
            {
                await standingBy.FreezeAsync(cancellationToken).ConfigureAwait(false);
                sessions = await begin().ConfigureAwait(false);
            }
            finally
            {
                isQuiet = await standingBy.ThawAsync().ConfigureAwait(false);
            }

            return isQuiet ? sessions : throw new BlockException(
                QemuErrors.AgentFailed,
                $"The guest's file systems were thawed before the instant, because the freeze took longer than " +
                $"{quiesce.FreezeTimeout:g}. " +
                "No session was started. Give more time with -FreezeTimeout, or leave -QuiesceGuest out.",
                quiesce.AgentSocketPath,
                operation: "freeze");
        }
        catch
        {
            foreach (T session in sessions)
            {
                _ = await session.EndAsync(isSuccess: false).ConfigureAwait(false);
            }

            throw;
        }
        finally
        {
            await standingBy.DisposeAsync().ConfigureAwait(false);
        }
    }
}
