// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Telemetry;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Chain;
using Fleece.Disks.Names;
using Fleece.Disks.Resuming;
using Fleece.Disks.Storage;
using Fleece.Disks.Temp;
using Fleece.Images;
using Fleece.Nbd;

namespace Fleece.Disks;

/// <summary>Starts one session on each of several disks, all at one instant.</summary>
internal static class SessionStart
{
    /// <param name="disks">Disks, each once, with the options of its session.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>The sessions, in the order of the disks.</returns>
    public static async ValueTask<IReadOnlyList<Session>> RunAsync(
        IReadOnlyList<(Disk Disk, SessionOptions Options)> disks, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(disks);
        if (disks.DistinctBy(pair => pair.Disk).Count() != disks.Count)
        {
            throw new BlockException(BlockErrors.InvalidArgument, "A disk is named twice for one instant. Name each once.");
        }

        using WorkActivity activity = WorkActivity.Begin(
            "fleece.session.start", ("disk", string.Join(", ", disks.Select(pair => pair.Disk.Name))));
        SessionOptions.CheckTempOfEach(disks.Select(pair => pair.Options));
        Session[] sessions = [];
        await ChainChange.RunAsync(disks.Select(pair => pair.Disk.Chain), PinAsync, cancellationToken).ConfigureAwait(false);
        activity.Succeed();
        return sessions;

        async ValueTask PinAsync(ChainChange change)
        {
            List<SessionPlan> plans = [];
            foreach ((Disk disk, SessionOptions options) in disks)
            {
                Guid? leaderId = plans.Find(plan => plan.Kept is not null)?.Kept!.Id;
                plans.Add(await PrepareAsync(disk, options, leaderId, change, cancellationToken).ConfigureAwait(false));
            }

            // No bitmap changes at the instant, so the ranges of one are known then; and no session begins before all are made.
            KeptSession[] kept = [.. plans.Select(plan => plan.Kept).OfType<KeptSession>()];
            DateTimeOffset instant = default;
            ChainStep making = new(() =>
            {
                FailPoint.Reach("start-quiesced");
                instant = DateTimeOffset.UtcNow;
                sessions = [.. plans.Select(plan => plan.Make())];
            });
            IEnumerable<ChainStep> beginning = plans.Select((_, index) => new ChainStep(
                () => sessions[index].Begin(instant), () => sessions[index].TakeBack()));
            await change.AtInstantAsync([making, .. beginning, new ChainStep(() => KeptSession.StoreRunning(kept, instant))])
                .ConfigureAwait(false);
            FailPoint.Reach("start-done");
        }
    }

    // What can fail or take time, before the disk is quiesced.
    private static async ValueTask<SessionPlan> PrepareAsync(
        Disk disk, SessionOptions options, Guid? leaderId, ChainChange change, CancellationToken cancellationToken)
    {
        string name = options.Name ?? disk.Name;
        Check(disk, name, options);
        TempImage temp = await TempImage.OpenAsync(
            disk.Storage,
            name,
            options.TempPath,
            options.Tls,
            options.CheckPlace,
            mayBeKept: options.Folder is not null,
            cancellationToken).ConfigureAwait(false);
        KeptSession? kept = null;
        change.OnFailure(() => KeptSession.RemoveAsync(temp, kept));
        FailPoint.Reach("start-temp-made");

        // Tried out before the disk has to wait for it; the real one follows at the instant, when the bitmap's ranges are known.
        SessionPlan plan = new(disk, name, temp, options);
        PointInTime tried = plan.Try();
        if (BitmapTurn.Prepare(disk.Bitmaps, plan.Id, options.Bitmap, options.NextBitmap) is { } turn)
        {
            change.OnFailure(() =>
            {
                turn.Undo();
                return default;
            });
            plan.Turn = turn;
        }

        kept = plan.Keep(tried, leaderId);
        if (kept is not null)
        {
            change.OnFailure(() =>
            {
                kept.Unmark();
                return default;
            });
            plan.Mark();
        }

        return plan;
    }

    private static void Check(Disk disk, string name, SessionOptions options)
    {
        ObjectNames.Check(name);
        disk.Storage.CheckSound();
        disk.CheckExclusive();
        if (disk.FindSession(name) is { } running)
        {
            // A job names its session after its bitmap, and its user can choose no other name.
            if (options.Bitmap is { } bitmap && (running.Bitmap ?? running.NextBitmap) is not null)
            {
                disk.Bitmaps.Find(bitmap).CheckFree();
            }

            throw new BlockException(
                DiskErrors.SessionNameInUse,
                $"The disk '{disk.Name}' has a session named '{name}' already, which began {running.StartedAt:u}. Let the backup that " +
                $"reads it end, or stop it with Stop-FleeceSession {PowerShellText.Argument(running.Id)}; Start-FleeceSession takes " +
                "another -Name.",
                disk.Path);
        }

        CheckFolder(disk, options.Folder);
        CheckTemp(disk, options.TempPath);
        CheckConsumers(options.Consumers);
        foreach (string exportName in disk.ExportNames.Prepend(disk.Name))
        {
            ExportNames.CheckSession(exportName, name, options.Consumers, "-Name, -Consumer");
        }

        if (options.Ranges is not null && options.Bitmap is not null)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                "A session is limited to ranges or to a bitmap, not to both: what of the bitmap lies outside the ranges would count as " +
                "backed up. Leave one of them out.",
                disk.Path);
        }
    }

    // The sessions of a disk come back together, by a mount with one folder.
    private static void CheckFolder(Disk disk, SessionFolder? folder)
    {
        if (folder is not null && !disk.Storage.IsExport && SessionMarker.Read(disk.Path)?.Sessions
                .FirstOrDefault(marked => marked.LogPath != folder.LogPathFor(marked.Id)) is { } other)
        {
            string statePath = Path.GetDirectoryName(Path.GetDirectoryName(other.LogPath)) ?? string.Empty;
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The session '{PrintableText.Of(other.Name)}' of the disk '{disk.Name}' is kept in '{statePath}', and all sessions of a " +
                $"disk are resumed together, from one state directory. Start this one with -StatePath " +
                $"{PowerShellText.Literal(statePath)} too, or without one.",
                disk.Path);
        }
    }

    // Old data that came back to its own disk as a guest's write would have to be copied first, for ever.
    private static void CheckTemp(Disk disk, string? tempPath)
    {
        if (!NbdUri.IsUri(tempPath))
        {
            return;
        }

        ExportPlace temp = ExportPlace.Of(NbdUri.Parse(tempPath));
        if (disk.ExportUris.Any(uri => temp == ExportPlace.Of(uri) || temp == ExportPlace.Of(uri.WithExport(string.Empty))))
        {
            throw new BlockException(
                DiskErrors.TempIsDisk,
                $"The temp image '{tempPath}' is the disk '{disk.Name}' itself. Name another one with -TempPath.",
                tempPath);
        }
    }

    private static void CheckConsumers(IReadOnlyList<string> names)
    {
        HashSet<string> seen = new(StringComparer.OrdinalIgnoreCase);
        foreach (string name in names)
        {
            ObjectNames.Check(name);
            if (!seen.Add(name))
            {
                throw new BlockException(
                    BlockErrors.InvalidArgument, $"The consumer '{name}' is named twice. Give each consumer a name of its own.");
            }
        }
    }
}
