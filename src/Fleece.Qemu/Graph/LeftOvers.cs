// SPDX-License-Identifier: MIT
using System.Runtime.ExceptionServices;
using Fleece.Block;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>Takes out of a QEMU what sessions have left whose processes are gone.</summary>
internal static class LeftOvers
{
    /// <summary>Looks for it and removes it: the guest runs first where such a session has stopped it, and its bitmaps end as those of a
    /// session without success.</summary>
    /// <param name="monitor">The guest.</param>
    /// <param name="isForced">True to end sessions too whose processes live, or of which that can't be told.</param>
    /// <param name="onlySession">The one session to look at, <see cref="NodeNames.SessionOf"/>; null for all.</param>
    /// <param name="thaw">Thaws the guest, which runs, and returns a sentence about that. It throws no
    /// <see cref="BlockException"/>.</param>
    /// <param name="cancellationToken">Ends the attempt; the next call goes on.</param>
    /// <returns>A sentence for each session that was removed, or is there and was not.</returns>
    /// <exception cref="BlockException">QEMU is gone. With <paramref name="isForced"/>, the first step that QEMU refused, too; all others
    /// are done then.</exception>
    public static async ValueTask<IReadOnlyList<string>> RemoveAsync(
        QemuMonitor monitor,
        bool isForced,
        string? onlySession,
        Func<CancellationToken, ValueTask<string>> thaw,
        CancellationToken cancellationToken)
    {
        IReadOnlyList<QemuNodeReply> nodes = await monitor.QueryNodesAsync(cancellationToken).ConfigureAwait(false);
        List<string> sentences = [];
        HashSet<string> live = [];
        BlockException? failure = null;
        foreach (IGrouping<string, Part> parts in nodes
            .Select(Part.Of).OfType<Part>().GroupBy(part => part.Session).Where(IsSession))
        {
            string session = parts.Key;
            if (onlySession is not null && session != onlySession)
            {
                _ = live.Add(session);
                continue;
            }

            if (!isForced && ReasonToKeep(parts) is { } reason)
            {
                _ = live.Add(session);
                sentences.AddRange(reason.Length == 0 ? [] : [reason]);
                continue;
            }

            SessionRemoval removal = new(monitor, session);
            try
            {
                await removal.ResumeAsync(cancellationToken).ConfigureAwait(false);
                if (parts.Any(part => part.Kind == Parts.Frozen))
                {
                    sentences.Add(await thaw(cancellationToken).ConfigureAwait(false));
                    await removal.ForgetFreezeAsync(cancellationToken).ConfigureAwait(false);
                }

                await removal.RunAsync(null, [], cancellationToken).ConfigureAwait(false);
                sentences.Add(
                    $"The session {session} of the guest at '{monitor.SocketPath}' was removed" +
                    (isForced ? "." : ": the process that began it is gone."));
            }
            catch (BlockException e) when (e.Kind is not (QemuErrors.QemuGone or QemuErrors.MonitorBusy or QemuErrors.NotQmp))
            {
                // It must not keep commands for other disks from their work.
                failure ??= e;
                sentences.Add(
                    $"The session {session} of the guest at '{monitor.SocketPath}', whose process is gone, could not all be removed: " +
                    e.Message);
            }
        }

        sentences.AddRange(await BitmapFolds
            .RunAsync(
                monitor, id => live.Contains(NodeNames.SessionOf(id)) || !IsWanted(id, onlySession), cancellationToken)
            .ConfigureAwait(false));
        if (isForced && failure is not null)
        {
            ExceptionDispatchInfo.Throw(failure);
        }

        return sentences;
    }

    /// <summary>The same by a caller that can't reach the guest's agent, or whose guard thaws.</summary>
    public static ValueTask<IReadOnlyList<string>> RemoveAsync(
        QemuMonitor monitor, bool isForced, string? onlySession, CancellationToken cancellationToken) => RemoveAsync(
        monitor, isForced, onlySession, _ => ValueTask.FromResult(MayBeFrozen(monitor.SocketPath)), cancellationToken);

    /// <summary>The sentence about a guest whose file systems a dead process had frozen.</summary>
    public static string MayBeFrozen(string socketPath) =>
        $"The process ended while the file systems of the guest at '{socketPath}' were frozen, and they may still be: run " +
        "guest-fsfreeze-thaw over the guest's agent (virsh domfsthaw), or fsfreeze -u in the guest.";

    private static bool IsWanted(Guid id, string? onlySession) => onlySession is null || NodeNames.SessionOf(id) == onlySession;

    // A session has its marker or its temp node as long as it has anything. A user's node may be called like a part of one; what it lies
    // over must not be deleted.
    private static bool IsSession(IGrouping<string, Part> parts) => parts.Any(part => part.Kind switch
    {
        Parts.Paused or Parts.Frozen or Parts.Server => true,
        Parts.Temp => parts.Skip(1).Any() || (part.FilePath is { } path && FleecingTemp.IsOfSession(path)),
        _ => false,
    });

    // Null where its process is gone; empty where it lives, which is no news.
    private static string? ReasonToKeep(IGrouping<string, Part> parts)
    {
        foreach (Part temp in parts.Where(part => part.Kind == Parts.Temp))
        {
            switch (temp.FilePath is { } path ? FleecingTemp.IsOwned(path) : null)
            {
                case true:
                    return string.Empty;
                case null:
                    return $"The session {parts.Key} is left as it is, because '{temp.FilePath}' is not there or can't be opened, so it " +
                        "is not known whether its process lives. Stop-FleeceSession -QmpSocketPath ... -Force removes it.";
            }
        }

        return null;
    }
}
