// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Disks.Resuming;
using Fleece.Disks.Storage;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Tls;

namespace Fleece.Disks;

/// <summary>Opens disks, and goes on with the sessions that earlier processes left on them.</summary>
/// <remarks>
/// <para>Order. The image is locked; the sessions are judged, and those that come back store that they run here; the image is opened; its
/// bitmaps are read, and settled by what became of the sessions; the new sidecar takes its place; the filters go into the chain, the oldest
/// first; what is left of sessions that are over is removed; the image's journal says no more of a loss. Then the disk takes its first
/// request. A process that is killed at any of these steps leaves what the next one takes up in the same way.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal static class DiskOpening
{
    /// <summary>Opens an image, or an export of an NBD server, as a disk.</summary>
    /// <param name="path">The image file, or an NBD URI.</param>
    /// <param name="name">The disk's name; null for the file's name without its extension.</param>
    /// <param name="options">How it is opened; null for the defaults.</param>
    /// <param name="tls">Certificates for an nbds URI.</param>
    /// <param name="isShared">True when others may write to the disk as well, and no point in time is to be guaranteed.</param>
    /// <param name="folder">Where the logs of the sessions are that go on; null resumes none. A disk that is read-only here leaves them as
    /// they are.</param>
    /// <param name="handling">What becomes of the image's sessions.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException"><see cref="ImageErrors.ImageHasSession"/>: the image has sessions whose logs are elsewhere, or that
    /// lack something now. Or why it can't be opened. The sessions are as they were then.</exception>
    public static async ValueTask<Disk> OpenAsync(
        string path,
        string? name,
        ImageOpenOptions? options,
        TlsClientOptions? tls,
        bool isShared,
        SessionFolder? folder,
        SessionHandling handling,
        CancellationToken cancellationToken)
    {
        string fullPath = StorageAddress.FullAddress(path);
        string diskName = name ?? StorageAddress.NameOf(fullPath);
        StorageCondition condition = new();
        ImageFiles files = new();
        List<LossWatch> watches = [];
        bool hasSessions = options is not { IsReadOnly: true } && !NbdUri.IsUri(fullPath);
        ReturningSessions sessions = new(
            hasSessions ? folder : null,
            fullPath,
            isShared ? "Its disk was mounted with -Shared, and others may write to it." : null,
            hasSessions ? handling : SessionHandling.Resume);
        ImageOpenOptions opening = (options ?? new ImageOpenOptions()) with
        {
            FlushFailed = condition.Fail,
            Watches = watches,
            Files = files,
            KeepsJournal = hasSessions,
            LeavesJournal = true,
            ResumedSessions = sessions.SettledIds,
            DiscardsSessions = handling == SessionHandling.Discard,
            CheckPlace = FindFirst(sessions, options?.CheckPlace),
        };
        try
        {
            OpenedStorage opened = await StorageAddress
                .OpenAsync(fullPath, opening, tls, $"the disk '{diskName}'", cancellationToken).ConfigureAwait(false);
            DiskStorage storage = new(diskName, fullPath, options ?? new ImageOpenOptions(), opened, isShared, condition, watches);
            return await MakeAsync(storage, files, sessions, folder, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            watches.ForEach(watch => watch.Dispose());
            sessions.Abandon();
            if (condition.Failure is { } failure)
            {
                BitmapStore.Distrust(fullPath, failure);
            }

            if (e is BlockException { Kind: ImageErrors.ImageHasSession } refused && FoundSessions.FindFormerPath(fullPath) is { } former)
            {
                throw new BlockException(
                    refused.Kind,
                    $"{refused.Message} Its session knows the image as '{former}': to resume it, put the image back there, with the " +
                    "files beside it.",
                    refused.Path,
                    operation: refused.Operation,
                    cause: refused);
            }

            throw;
        }
        finally
        {
            sessions.EndTouching();
        }
    }

    // The image is the first file that is judged: it is locked then, and nothing has changed it.
    private static Action<string> FindFirst(ReturningSessions sessions, Action<string>? checkPlace)
    {
        bool isFirst = true;
        return place =>
        {
            checkPlace?.Invoke(place);
            if (isFirst)
            {
                isFirst = false;
                sessions.Find();
            }
        };
    }

    private static async ValueTask<Disk> MakeAsync(
        DiskStorage storage,
        ImageFiles files,
        ReturningSessions sessions,
        SessionFolder? folder,
        CancellationToken cancellationToken)
    {
        Disk disk;
        try
        {
            FailPoint.Reach("resume-opened");
            storage.FindLoss();
            storage.HasSessionFolder = folder is not null;
            storage.Parents = ParentFile.Read(files);
            sessions.StoreLost();
            LoseUnfit(storage, sessions);
            if (!storage.OpenedWith.SettlesLoss && !storage.IsExport && !Sidecar.IsInUse(storage.Path))
            {
                // None but its sessions could have needed the journal.
                storage.Journal.SettleLoss();
            }

            IReadOnlyList<StoredTurn> turns = SessionResume.TurnsOf(sessions);
            disk = await storage.RunAsync(() => new Disk(storage, files, turns)).ConfigureAwait(false);
        }
        catch
        {
            await storage.Image.DisposeAsync().ConfigureAwait(false);
            throw;
        }

        try
        {
            FailPoint.Reach("resume-bitmaps");
            await SessionResume.RunAsync(disk, sessions, storage.OpenedWith.CheckPlace, cancellationToken).ConfigureAwait(false);
            sessions.RemoveOver();
            if (storage is { IsExport: false, IsReadOnly: false })
            {
                sessions.NoteUnowned();
            }

            disk.AddNotes(sessions.Notes);
            if (!storage.OpenedWith.SettlesLoss)
            {
                storage.Journal.SettleLoss();
            }

            return disk;
        }
        catch
        {
            await disk.SuspendAsync().ConfigureAwait(false);
            throw;
        }
    }

    // Only the open image tells these. Nothing has been read from it or written to it for a guest.
    private static void LoseUnfit(DiskStorage storage, ReturningSessions sessions)
    {
        foreach (ReturningSession session in sessions.Resumed.ToArray())
        {
            SessionDescription description = session.Kept.Description;
            if (storage.SizeBytes != description.DiskSizeBytes || storage.Format != description.ImageFormat)
            {
                sessions.LoseOrRefuse(
                    session,
                    $"Its disk was a {description.ImageFormat} of {description.DiskSizeBytes} bytes, and is a {storage.Format} of " +
                    $"{storage.SizeBytes} bytes now.");
            }
            else if (ResumeRules.FindParentChange(description, storage.Parents) is { } change)
            {
                sessions.Lose(session, change);
            }
            else if (session.Stored.State != StoredState.Suspended &&
                (storage.Journal.LostJournal ?? storage.Journal.MissingJournal) is { } fault)
            {
                sessions.Lose(session, $"The end of the process before lost what the image's tables said: {fault}.");
            }
        }
    }
}
