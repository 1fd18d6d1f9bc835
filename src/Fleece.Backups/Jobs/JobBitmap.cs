// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Names;

namespace Fleece.Backups.Jobs;

/// <summary>Chooses the bitmap of a job: the one that counts from a backup of this repository, so that no job moves or clears a bitmap
/// that another repository counts with.</summary>
/// <remarks>
/// <para>Without a name from the user it is, in this order: the one that is named after the repository's identity, unless that counts
/// from a backup that is not here; another default bitmap that counts from a kept backup here; the first one all the same, which is an
/// error; the one of the newest backup, if it counts from nothing; a new one. A full backup clears the first one only, and only where
/// the repository began: elsewhere the folder may be a copy.</para>
/// <para>Threading. One thread, which holds the repository.</para>
/// </remarks>
/// <param name="disk">The disk.</param>
/// <param name="folder">The repository.</param>
/// <param name="repository">The repository as it is now.</param>
/// <param name="options">The job.</param>
/// <param name="notes">Takes what the user should hear; whole sentences.</param>
internal sealed class JobBitmap(
    IFleeceable disk, RepositoryFolder folder, Repository repository, BackupJobOptions options, List<string> notes)
{
    private BitmapDescription[] _own = [];
    private BitmapDescription[] _ofParents = [];
    private BitmapDescription? _made;
    private bool _madeIdentity;

    /// <summary>What the session is called without a bitmap. No other job uses it.</summary>
    public string SessionName { get; } = RepositoryIdentity.NewAt(folder.Path).BitmapName;

    /// <summary>Finds or makes the bitmap.</summary>
    /// <returns>Null for a disk that does not change, or that others change as well, which is backed up in full each time.</returns>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupParentMissing"/>, or why a bitmap or the identity can't be read
    /// or written.</exception>
    public async ValueTask<BitmapDescription?> FindAsync(CancellationToken cancellationToken)
    {
        if (disk.IsShared)
        {
            notes.Add(
                $"A full backup is made, and its point in time is not guaranteed, because others may write to the disk '{disk.Name}' as " +
                "well: it is mounted with -Shared, so no bitmap records all changes.");
            return null;
        }

        if (disk.IsReadOnly)
        {
            NoteFull("the disk is mounted read-only, so no bitmap records its changes");
            return null;
        }

        ILookup<bool, BitmapDescription> bitmaps =
            (await disk.ListBitmapsAsync(cancellationToken).ConfigureAwait(false)).ToLookup(bitmap => bitmap.ParentPath is null);
        _own = [.. bitmaps[true]];
        _ofParents = [.. bitmaps[false]];
        if (options.Bitmap is not { } name)
        {
            return await FindDefaultAsync(cancellationToken).ConfigureAwait(false);
        }

        return FindCalled(name) is { } named
            ? await UseAsync(named, Advice.Named, cancellationToken).ConfigureAwait(false)
            : await MakeAsync(name, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Takes back the bitmap that the job has made, when no session of it began: it would record without end. Where the disk is
    /// out of reach it stays, and the next job uses it.</summary>
    public async ValueTask TakeBackAsync()
    {
        if (_made is not { } made)
        {
            return;
        }

        _made = null;
        try
        {
            // The job may have ended because it was cancelled.
            await disk.RemoveBitmapAsync(made.ExactName, CancellationToken.None).ConfigureAwait(false);
            if (_madeIdentity)
            {
                RepositoryIdentity.Forget(folder.Lock);
            }
        }
        catch (BlockException)
        {
            // The error that ended the job says more.
        }
    }

    private enum Advice
    {
        Named,
        Default,
        Left,
    }

    private async ValueTask<BitmapDescription> FindDefaultAsync(CancellationToken cancellationToken)
    {
        RepositoryIdentity? identity = RepositoryIdentity.Read(folder.Lock, out string? fault);
        if (FindOwn(identity) is { } own)
        {
            if (!options.IsFull || !MayServeAnother(own, identity))
            {
                return await UseAsync(own, Advice.Default, cancellationToken).ConfigureAwait(false);
            }

            NoteStays(own);
            identity = null;
        }
        else if (identity is null && fault is null && FindLeft() is { } left)
        {
            if (!options.IsFull)
            {
                throw ParentMissing(left, Advice.Left);
            }

            NoteStays(left);
        }

        identity ??= TakeIdentity(fault);
        return await MakeAsync(identity.BitmapName, cancellationToken).ConfigureAwait(false);
    }

    private bool CountsFromHere(BitmapDescription bitmap) =>
        bitmap.BaselineId is { } id && repository.Find(id) is { State: PointState.Kept };

    // Of a folder that was moved or copied nothing tells whether the other one is still there.
    private bool MayServeAnother(BitmapDescription bitmap, RepositoryIdentity? identity)
    {
        bool isOurs = identity?.IsFrom(folder.Path) == true && IsCalled(bitmap, identity.BitmapName);
        return bitmap.BaselineId is not null && (!isOurs || !CountsFromHere(bitmap));
    }

    // By the name that is stored, else by the one that is shown, else without regard to case, as wherever a user names a bitmap. A
    // guest's QEMU may have several of one name: one that counts from a backup has recorded ever since.
    private BitmapDescription? FindCalled(string name) => _own
        .Where(bitmap => bitmap.ExactName == name || IsCalled(bitmap, name))
        .MaxBy(bitmap => (
            bitmap.ExactName == name || bitmap.Name == name,
            CountsFromHere(bitmap),
            bitmap.BaselineId is not null,
            bitmap.ExactName == name));

    private static bool IsCalled(BitmapDescription bitmap, string name) =>
        string.Equals(bitmap.Name, PrintableText.Of(name), StringComparison.OrdinalIgnoreCase);

    private BitmapDescription? FindOwn(RepositoryIdentity? identity)
    {
        BitmapDescription? named = identity is null ? null : FindCalled(identity.BitmapName);
        if (named is not null && (named.BaselineId is null || CountsFromHere(named)))
        {
            return named;
        }

        return _own
                .Where(bitmap => RepositoryIdentity.IsDefaultBitmap(bitmap.Name) && CountsFromHere(bitmap))
                .MaxBy(bitmap => repository.Find(bitmap.BaselineId!.Value)!.Number)
            ?? named
            ?? (repository.Manifests is [.., { BitmapName: { } last }] && RepositoryIdentity.IsDefaultBitmap(last) &&
                FindCalled(last) is { BaselineId: null } free ? free : null);
    }

    // An empty folder where a repository was: more often a volume that is not mounted than a wish for a new one.
    private BitmapDescription? FindLeft() => repository.Manifests.Count + repository.Faults.Count + repository.Strays.Count != 0 ? null
        : Array.Find(_own, bitmap =>
            bitmap.BaselineId is not null && RepositoryIdentity.IsBitmapOfPath(bitmap.Name, folder.Path));

    private RepositoryIdentity TakeIdentity(string? fault)
    {
        if (fault is not null)
        {
            notes.Add($"The repository gets a new identity, because the one it has can't be used: {fault}.");
        }

        RepositoryIdentity identity = RepositoryIdentity.NewAt(folder.Path);
        _madeIdentity = folder.Lock.LengthBytes == 0;
        identity.Write(folder.Lock);
        return identity;
    }

    private async ValueTask<BitmapDescription> MakeAsync(string name, CancellationToken cancellationToken)
    {
        BitmapDescription? ofParent = Array.Find(_ofParents, bitmap => IsCalled(bitmap, name));
        BitmapDescription? ofGuest = Array.Find(_own, bitmap => IsOfGuest(bitmap, name));
        NoteFull(ofGuest is not null
            ? $"the bitmap '{ofGuest.Name}' counts only for backups over QMP, while QEMU runs the guest. It goes on recording for them, " +
              $"and the mounted disk gets a bitmap '{name}' of its own"
            : ofParent is not null
            ? $"the bitmap '{ofParent.Name}' is one of the parent image '{ofParent.ParentPath}': the disk is an overlay over that now, " +
              "and no bitmap of the overlay has recorded what changed since"
            : $"the disk has no bitmap '{name}' yet: it was removed, the file that kept it is gone, or the backups before used another" +
            disk.BitmapsLast switch
            {
                BitmapLifetime.Mount => "; on an NBD server bitmaps last as long as the mount",
                BitmapLifetime.Guest => "; bitmaps of this guest's disk last until its QEMU ends, because only qcow2 images of version 3 " +
                    "keep them, so it may have been started anew",
                _ => string.Empty,
            });
        _made = await disk.CreateBitmapAsync(name, cancellationToken).ConfigureAwait(false);
        return _made;
    }

    private static bool IsOfGuest(BitmapDescription bitmap, string name) =>
        QemuBitmapName.Parse(bitmap.ExactName) is { InstantId: not null, Name: { } guests } &&
        string.Equals(PrintableText.Of(guests), PrintableText.Of(name), StringComparison.OrdinalIgnoreCase);

    private async ValueTask<BitmapDescription> UseAsync(BitmapDescription found, Advice advice, CancellationToken cancellationToken)
    {
        bool isElsewhere = found.BaselineId is not null && !CountsFromHere(found);
        if (MustBeginAnew(found) || (options.IsFull && !isElsewhere))
        {
            return await disk.RestartBitmapAsync(found.ExactName, cancellationToken).ConfigureAwait(false);
        }

        if (isElsewhere)
        {
            throw ParentMissing(found, advice);
        }

        if (found.BaselineId is null)
        {
            NoteFull(
                $"the bitmap '{found.Name}' counts from no backup: it is new, was cleared, or was disabled for a while, a full backup " +
                "with it was interrupted, or " +
                (disk.BitmapsLast == BitmapLifetime.ImageOnExport
                    ? "the disk was mounted anew: an image on an export keeps the bitmap and not the backup that it counts from, so the " +
                      "first backup of a mount is a full one"
                    : "another program has written to the image while it was not mounted in Fleece"));
        }

        return found;
    }

    private void NoteStays(BitmapDescription bitmap) => notes.Add(
        $"The bitmap '{bitmap.Name}' stays as it is, because another repository may count with it, such as a copy of this one. If none " +
        $"does, {Removal(bitmap) ?? "remove it with Remove-FleeceBitmap"}.");

    private BlockException ParentMissing(BitmapDescription bitmap, Advice advice) => new(
        BackupErrors.BackupParentMissing,
        $"The bitmap '{bitmap.Name}' of '{disk.Name}' counts from the instant {bitmap.BaselineId}, and '{folder.Path}' has no backup of " +
        "it. See that the right folder is named and its volume is mounted. " +
        advice switch
        {
            Advice.Named => "If another repository counts with the bitmap, name another with -Bitmap, or leave that out, so that each " +
                $"has its own. If none does, {Removal(bitmap) ?? "clear the bitmap with Clear-FleeceBitmap"}, and a new chain begins here.",
            Advice.Left => "To begin a new repository here, use -Full.",
            _ => "If this folder is a copy of another repository, or was copied, both count with this bitmap: -Full, used here once, " +
                "gives this one a bitmap of its own, and both go on. Without a copy, -Full begins a new chain as well.",
        } + repository.FaultHint(),
        folder.Path);

    // Cmdlets change the bitmaps of disks that Fleece serves; those of a guest's disk are QEMU's.
    private static string? Removal(BitmapDescription bitmap) => bitmap.QemuNode is null
        ? null
        : $"remove it with QMP's block-dirty-bitmap-remove (node '{PrintableText.Of(bitmap.QemuNode)}', name " +
            $"'{PrintableText.Of(bitmap.ExactName)}')";

    // The first backup of a repository has no reason but that.
    private void NoteFull(string reason)
    {
        if (!options.IsFull && repository.Manifests.Count + repository.Faults.Count + repository.Strays.Count != 0)
        {
            notes.Add($"A full backup is made, because {reason}.");
        }
    }

    // A bitmap that can't be trusted, or is disabled, can't say what has changed, and waiting for a hand to clear or enable it would cost
    // every night until then.
    private bool MustBeginAnew(BitmapDescription bitmap)
    {
        if (!bitmap.IsEnabled)
        {
            notes.Add(
                $"A full backup is made, because the bitmap '{bitmap.Name}' was disabled, and what changed meanwhile is in no bitmap. It " +
                "is cleared and records again from now on.");
            return true;
        }

        if (bitmap is { QemuDiskSizeBytes: { } sizeBytes, BaselineId: { } id } && repository.Find(id) is { State: PointState.Kept } last &&
            last.SizeBytes != sizeBytes)
        {
            NoteFull(
                $"the disk has {sizeBytes} bytes now, and the backup {last.Number}, which the bitmap '{bitmap.Name}' counts from, is of " +
                $"{last.SizeBytes}");
            return true;
        }

        if (bitmap.Fault is null)
        {
            return false;
        }

        if (!options.IsFull)
        {
            notes.Add($"A full backup is made, because the bitmap '{bitmap.Name}' can't be trusted. {bitmap.Fault}");
        }

        return true;
    }
}
