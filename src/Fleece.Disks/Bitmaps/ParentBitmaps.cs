// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Disks.Names;
using Fleece.Disks.Storage;
using Fleece.Images;
using Fleece.Images.Chain;

namespace Fleece.Disks.Bitmaps;

/// <summary>Reads the bitmaps that the parents of a disk's image keep: records of what changed in a parent before its child was made.
/// </summary>
/// <remarks>
/// <para>The nearest image that has a name decides it, as for <c>qemu-nbd -B</c>: a bitmap that can't be trusted hides one of the same
/// name beneath. Nothing changes a parent while its child is mounted, so what is read at the mount holds until the dismount.</para>
/// <para>Threading. One thread, while the disk is being mounted.</para>
/// </remarks>
internal sealed class ParentBitmaps(DiskStorage disk)
{
    private const string MountAlone = "Mount that image by itself, read-only is enough, to see what Fleece can make of it.";

    private readonly List<string> _notes = [];
    private readonly List<Bitmap> _found = [];
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);
    private bool _isFull;

    /// <summary>What the user should hear of bitmaps that are left out; whole sentences.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>Reads them, nearest parent first; one name comes once.</summary>
    public IReadOnlyList<Bitmap> Read()
    {
        foreach (ParentOfImage parent in ParentImages.Of(disk.Image))
        {
            try
            {
                ReadParent(parent);
            }
            catch (BlockException e)
            {
                _notes.Add($"The bitmaps of the parent image '{parent.Path}' can't be read, so they are left out. {e.Message}");
            }
        }

        return _found;
    }

    private void ReadParent(ParentOfImage parent)
    {
        if (parent.Bitmaps is not { } bitmaps)
        {
            ReadSidecar(parent);
            return;
        }

        foreach (StoredBitmap stored in bitmaps.ReadBitmaps())
        {
            Add(parent, stored.Name, stored.GranularityBytes, stored.Bits, stored.Fault is { } fault ? $"{fault} {MountAlone}" : null);
        }

        if (bitmaps.BitmapsNote is { } note)
        {
            _notes.Add($"The bitmaps of the parent image '{parent.Path}' are left out. {note}");
        }
    }

    // The sidecar of an image that was dismounted says by the image's identity, length and time that nothing has changed it since. One
    // that is in use holds what a killed process recorded; only a mount of that image itself can tell what that is worth.
    private void ReadSidecar(ParentOfImage parent)
    {
        using Sidecar? sidecar = Sidecar.Open(parent.Path, isReadOnly: true);
        if (sidecar is null)
        {
            return;
        }

        SidecarDirectory directory = sidecar.Directory;
        string? fault = directory.IsInUse
            ? $"The process that recorded it ended without closing the image. {MountAlone}"
            : SidecarTrust.FindFault(
                directory,
                FileEvidence.Read(parent.Path),
                FileEvidence.Read(sidecar.Path),
                stamp: null,
                parent.LengthBytes,
                ParentFile.Below(disk.Parents, parent.Path));
        foreach (SidecarEntry entry in directory.Entries)
        {
            if (!entry.IsHidden && BitmapNames.IsAllowed(entry.Name))
            {
                (DirtyBitmap bits, string? reason) = sidecar.Areas.Load(entry, parent.LengthBytes, fault);
                Add(parent, entry.Name, entry.GranularityBytes, reason is null ? bits : null, reason);
            }
        }
    }

    private void Add(ParentOfImage parent, string name, long granularityBytes, DirtyBitmap? bits, string? fault)
    {
        if (!_names.Add(name))
        {
            return;
        }

        if (_found.Count == SidecarDirectory.MaximumBitmaps)
        {
            if (!_isFull)
            {
                _notes.Add(
                    $"The bitmap '{name}' of the parent image '{parent.Path}', and what follows, is left out, because Fleece offers at " +
                    $"most {SidecarDirectory.MaximumBitmaps} bitmaps of a disk's parents.");
            }

            _isFull = true;
            return;
        }

        _found.Add(new Bitmap(disk, name, Fit(granularityBytes, bits), isEnabled: false, reason: fault) { ParentPath = parent.Path });
    }

    // A longer child was never changed behind its parent's end before it was made; a shorter one has no place for the rest.
    // Where the child is so long that it would need too many bits, they get coarser, which marks more and never less.
    private DirtyBitmap Fit(long granularityBytes, DirtyBitmap? bits)
    {
        while (disk.SizeBytes / granularityBytes >= DirtyBitmap.MaximumBitCount)
        {
            granularityBytes *= 2;
        }

        DirtyBitmap own = new(disk.SizeBytes, granularityBytes);
        BlockRange all = new(0, disk.SizeBytes);
        foreach (BlockRange range in bits?.DirtyRanges() ?? [])
        {
            BlockRange inside = range.Intersect(all);
            own.Mark(inside.OffsetBytes, inside.LengthBytes);
        }

        return own;
    }
}
