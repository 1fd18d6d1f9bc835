// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.Disks.Bitmaps;

/// <content>What a mount makes of what it finds: the sidecar, the image's own bitmaps, and sessions that never ended.</content>
public sealed partial class DiskBitmaps
{
    // Those that the process which recorded them gave up. It did not end well, so the image does not know better.
    private readonly HashSet<string> _givenUp = [];

    // True when the sidecar still holds, and so names every bitmap that there is.
    private bool ReadSidecar(Sidecar sidecar, FileEvidence image, List<Bitmap> found)
    {
        SidecarDirectory directory = sidecar.Directory;
        string? fault = SidecarTrust.FindFault(directory, image, FileEvidence.Read(sidecar.Path), _disk.SizeBytes);
        if (fault is null && directory.IsInUse)
        {
            fault = FindUnseenFailure(sidecar);
        }

        foreach (SidecarEntry entry in directory.Entries)
        {
            if (directory.IsInUse && entry.Fault.Length != 0)
            {
                _givenUp.Add(entry.Name);
            }

            (DirtyBitmap bits, string? reason) = sidecar.Load(entry, _disk.SizeBytes, fault ?? FindForeignName(entry));
            found.Add(new Bitmap(_disk, entry.Name, bits, isEnabled: entry.IsEnabled, reason: reason)
            {
                IsHidden = entry.IsHidden,
                IsPending = entry.IsPending,
                BaselineId = reason is null ? entry.BaselineId : null,
                Predecessor = entry.PredecessorIndex >= 0 && entry.PredecessorIndex < found.Count
                    ? found[entry.PredecessorIndex]
                    : null,
            });
        }

        _wasSealed = !directory.IsInUse;
        return fault is null;
    }

    // An image that keeps bitmaps itself may have names that QEMU gave. To any other, Fleece alone gives names.
    private string? FindForeignName(SidecarEntry entry) => _image is not null || entry.IsHidden || BitmapNames.IsAllowed(entry.Name)
        ? null
        : "Its name is none that Fleece gives a bitmap, so another program wrote the sidecar.";

    // The process that was killed may have left writes that the system failed to store since, which it tells the next flush.
    private string? FindUnseenFailure(Sidecar sidecar)
    {
        try
        {
            FileNames.FlushClosed(sidecar.Path);
            FileNames.FlushClosed(_disk.Path);
            return null;
        }
        catch (BlockException e)
        {
            return StorageCondition.DescribeBitmapFault(e);
        }
    }

    // What the image says is right where it says so; where it says "in use", the sidecar may know more. A bitmap that only
    // the sidecar knows was made since the disk was mounted last, and one that it does not know was removed since.
    private void ReadImage(List<Bitmap> found, bool knowsAll)
    {
        if (_image is null)
        {
            return;
        }

        IReadOnlyList<StoredBitmap> all;
        try
        {
            all = _image.ReadBitmaps();
        }
        catch (BlockException e) when (_disk.IsReadOnly)
        {
            // Who only reads the disk may need it all the more; who writes would make the damage final.
            _notes.Add($"The disk's bitmaps can't be read. {e.Message}");
            return;
        }

        foreach (StoredBitmap stored in all)
        {
            int index = found.FindIndex(bitmap => bitmap.ExactName == stored.Name);
            if (_givenUp.Contains(stored.Name) || (stored.Fault is not null && (index >= 0 || knowsAll)))
            {
                continue;
            }

            DirtyBitmap bits = stored.Bits ?? new DirtyBitmap(_disk.SizeBytes, stored.GranularityBytes);

            // The image has no place for the baseline. The sidecar's holds where nobody has changed the image since it was closed.
            Bitmap bitmap = new(_disk, stored.Name, bits, isEnabled: stored.IsEnabled, reason: stored.Fault)
            {
                BaselineId = index >= 0 && _wasSealed ? found[index].BaselineId : null,
            };
            if (index >= 0)
            {
                found[index] = bitmap;
            }
            else
            {
                found.Add(bitmap);
            }
        }

        if (_image.BitmapsNote is { } note)
        {
            _notes.Add(note);
        }

        if (found.Count > SidecarDirectory.MaximumBitmaps)
        {
            throw new BlockException(
                BlockErrorKind.Unsupported,
                $"'{_disk.Path}' has {found.Count} bitmaps, and Fleece keeps {SidecarDirectory.MaximumBitmaps}. Remove some with " +
                "'qemu-img bitmap --remove'.",
                _disk.Path);
        }
    }

    // Sessions that never ended: their bitmaps get back what the successors recorded, so nothing is lost.
    private void EndSessions(List<Bitmap> found)
    {
        foreach (Bitmap successor in found.FindAll(bitmap => bitmap.IsPending))
        {
            found.Remove(successor);
            string name = successor.IsHidden ? "its successor" : $"'{successor.Name}'";
            if (found.Find(bitmap => bitmap.ExactName == successor.Predecessor?.ExactName) is not { } predecessor)
            {
                _notes.Add(
                    $"The session that was to make the bitmap '{successor.Name}' did not end, so it is gone. Make a full backup anew.");
                continue;
            }

            predecessor.Reason ??= successor.Reason;
            if (predecessor.Reason is null)
            {
                predecessor.Bits.Merge(successor.Bits);
                _notes.Add(
                    $"The session that had pinned the bitmap '{predecessor.Name}' did not end; what {name} recorded since was merged " +
                    "into it, and nothing is lost.");
            }
        }
    }
}
