// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Disks.Names;
using Fleece.Disks.Storage;
using Fleece.Images;

namespace Fleece.Disks.Bitmaps;

/// <summary>Reads the bitmaps of a disk that is being mounted, from the sidecar and the image itself, and decides which can be trusted.
/// </summary>
/// <remarks>Threading. One thread, while the disk is being mounted.</remarks>
/// <param name="disk">The disk.</param>
/// <param name="bitmapImage">Its image, where that keeps bitmaps itself; null for any other.</param>
/// <param name="turns">The sessions of earlier processes that come back, or whose end is finished now.</param>
internal sealed class BitmapReader(DiskStorage disk, IBitmapImage? bitmapImage, IReadOnlyList<StoredTurn> turns)
{
    private readonly List<string> _notes = [];
    private readonly List<Bitmap> _found = [];

    // Those that the process which recorded them gave up. It did not end well, so the image does not know better.
    private readonly HashSet<string> _givenUp = [];
    private bool _wasSealed;

    /// <summary>Why the disk can have no bitmaps; null when it can.</summary>
    public BlockException? Fault { get; private set; }

    /// <summary>The bitmaps of parent images.</summary>
    public IReadOnlyList<Bitmap> OfParents { get; private set; } = [];

    /// <summary>What the user should hear of how they were found; whole sentences.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>Reads the disk's own bitmaps and those of its parents.</summary>
    /// <exception cref="BlockException">Why a writable image's own bitmaps can't be kept.</exception>
    public Bitmap[] Read()
    {
        bool knowsAll = !disk.IsExport && TryReadSidecar();
        if (bitmapImage is not null)
        {
            ReadImage(bitmapImage, knowsAll);
        }

        // A mount that changes nothing ends no session, so there is nothing to tell of those that may go on.
        bool mayGoOn = disk.IsReadOnly && !disk.IsExport && SessionMarker.Read(disk.Path) is not null;
        new BitmapSuccession(disk, _found, turns, mayGoOn ? [] : _notes).Settle();
        foreach (Bitmap bitmap in _found)
        {
            bitmap.Reason ??= disk.SharedBitmapFault;
        }

        ParentBitmaps parents = new(disk);
        OfParents = parents.Read();
        _notes.AddRange(parents.Notes);
        _notes.AddRange(_found.Where(bitmap => bitmap.Reason is not null)
            .Select(bitmap => $"The bitmap '{bitmap.Name}' can't be trusted. {bitmap.Reason}"));
        return [.. _found];
    }

    // True when the sidecar still holds, and so names every bitmap that there is.
    private bool TryReadSidecar()
    {
        try
        {
            using Sidecar? sidecar = Sidecar.Open(disk.Path, isReadOnly: true);
            return sidecar is not null && ReadSidecar(sidecar, disk.FoundImage ?? FileEvidence.Read(disk.Path));
        }
        catch (BlockException e) when (e.Kind == DiskErrors.BitmapStoreUnusable)
        {
            if (bitmapImage is null)
            {
                Fault = e;
            }

            _notes.Add(bitmapImage is null ? e.Message : $"What was recorded since the image was closed last is lost. {e.Message}");
            return false;
        }
    }

    private bool ReadSidecar(Sidecar sidecar, FileEvidence image)
    {
        SidecarDirectory directory = sidecar.Directory;
        string? fault = SidecarTrust.FindFault(
            directory, image, FileEvidence.Read(sidecar.Path), sidecar.ReadStamp(), disk.SizeBytes, disk.Parents);
        if (fault is null && directory.IsInUse)
        {
            fault = FindUnseenFailure(sidecar) ?? FindLostTables();
        }

        foreach (SidecarEntry entry in directory.Entries)
        {
            if (directory.IsInUse && entry.Fault.Length != 0)
            {
                _givenUp.Add(entry.Name);
            }

            (DirtyBitmap bits, string? reason) = sidecar.Areas.Load(entry, disk.SizeBytes, fault ?? FindForeignName(entry));
            _found.Add(new Bitmap(disk, entry.Name, bits, isEnabled: entry.IsEnabled, reason: reason)
            {
                IsHidden = entry.IsHidden,
                IsPending = entry.IsPending,
                BaselineId = reason is null ? entry.BaselineId : null,
                Predecessor = entry.PredecessorIndex >= 0 && entry.PredecessorIndex < _found.Count
                    ? _found[entry.PredecessorIndex]
                    : null,
            });
        }

        _wasSealed = !directory.IsInUse;
        return fault is null;
    }

    // An image that keeps bitmaps itself may have names that QEMU gave. To any other, Fleece alone gives names.
    private string? FindForeignName(SidecarEntry entry) => bitmapImage is not null || entry.IsHidden || BitmapNames.IsAllowed(entry.Name)
        ? null
        : "Its name is none that Fleece gives a bitmap, so another program wrote the sidecar.";

    // The process that was killed may have left writes that the system failed to store since, which it tells the next flush.
    private string? FindUnseenFailure(Sidecar sidecar)
    {
        try
        {
            FileNames.FlushClosed(sidecar.Path);
            FileNames.FlushClosed(disk.Path);
            return null;
        }
        catch (BlockException e)
        {
            return StorageCondition.DescribeBitmapFault(e);
        }
    }

    // The image shows older bytes again, which a backup that cleared the bits had copied in their later state.
    private string? FindLostTables() => (disk.Journal.LostJournal ?? disk.Journal.MissingJournal) is { } fault
        ? $"The process that recorded it did not end in order, and {fault}."
        : null;

    // What the image says is right where it says so; where it says "in use", the sidecar may know more. A bitmap that only
    // the sidecar knows was made since the disk was mounted last, and one that it does not know was removed since.
    private void ReadImage(IBitmapImage image, bool knowsAll)
    {
        IReadOnlyList<StoredBitmap> all;
        try
        {
            all = image.ReadBitmaps();
        }
        catch (BlockException e) when (disk.IsReadOnly)
        {
            // Who only reads the disk may need it all the more; who writes would make the damage final.
            _notes.Add($"The disk's bitmaps can't be read. {e.Message}");
            return;
        }

        foreach (StoredBitmap stored in all)
        {
            int index = _found.FindIndex(bitmap => bitmap.ExactName == stored.Name);
            if (_givenUp.Contains(stored.Name) || (stored.Fault is not null && (index >= 0 || knowsAll)))
            {
                continue;
            }

            DirtyBitmap bits = stored.Bits ?? new DirtyBitmap(disk.SizeBytes, stored.GranularityBytes);

            // The image has no place for the baseline. The sidecar's holds where the image is as it was closed, and where a process was
            // killed when it had stored these very bits and not sealed the sidecar yet.
            Bitmap bitmap = new(disk, stored.Name, bits, isEnabled: stored.IsEnabled, reason: stored.Fault)
            {
                BaselineId = index >= 0 && (_wasSealed || IsSame(_found[index].Bits, bits)) ? _found[index].BaselineId : null,
            };
            if (index >= 0)
            {
                _found[index] = bitmap;
            }
            else
            {
                _found.Add(bitmap);
            }
        }

        if (image.BitmapsNote is { } note)
        {
            _notes.Add(note);
        }

        if (_found.Count > SidecarDirectory.MaximumBitmaps)
        {
            throw new BlockException(
                BlockErrors.Unsupported,
                $"'{disk.Path}' has {_found.Count} bitmaps, and Fleece keeps {SidecarDirectory.MaximumBitmaps}. Remove some with " +
                "'qemu-img bitmap --remove'.",
                disk.Path);
        }
    }

    private static bool IsSame(DirtyBitmap one, DirtyBitmap other) =>
        one.GranularityBytes == other.GranularityBytes && one.DirtyRanges().SequenceEqual(other.DirtyRanges());
}
