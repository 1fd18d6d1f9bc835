// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Disks.Storage;
using Fleece.Images;
using Fleece.Nbd;

namespace Fleece.Disks.Bitmaps;

/// <summary>The bitmaps that are a disk's own, and how they outlive a mount and a process: in the sidecar, and in the image itself where
/// its format has a place for them.</summary>
/// <remarks>Threading. <see cref="Touch"/>, <see cref="Distrust(BlockException)"/> and the properties from any thread; the rest under the
/// disk's chain lock, or while the disk is being mounted.</remarks>
internal sealed class BitmapStore
{
    private readonly DiskStorage _disk;
    private readonly List<string> _notes = [];
    private volatile Bitmap[] _bitmaps = [];
    private volatile Sidecar? _sidecar;
    private BlockException? _fault;
    private BlockException? _sidecarFault;

    public BitmapStore(DiskStorage disk)
    {
        _disk = disk;
        Image = (disk.Image as IBitmapHolder)?.Bitmaps is { HasRoomForBitmaps: true } bitmaps ? bitmaps : null;
    }

    /// <summary>The disk's image, where it keeps bitmaps itself; null for any other.</summary>
    public IBitmapImage? Image { get; }

    /// <summary>The bitmaps; the array is replaced, never changed.</summary>
    public Bitmap[] Bitmaps => _bitmaps;

    /// <summary>The file that keeps up with the bitmaps; null for none.</summary>
    public Sidecar? Sidecar => _sidecar;

    /// <summary>Why the disk can have no bitmaps; null when it can.</summary>
    public BlockException? Fault => _fault;

    /// <summary>Why a killed process would lose what is recorded now; null while nothing would be lost.</summary>
    public BlockException? JournalFault =>
        _sidecar is { } sidecar ? sidecar.Failure
        : Image is not null && _disk.IsExport ? new BlockException(
            DiskErrors.BitmapStoreUnusable,
            $"The image lies on the export '{_disk.Path}', beside which there is no file, so bitmaps reach it when the disk is dismounted.",
            _disk.Path)
        : _sidecarFault;

    /// <summary>What the user should hear of where the bitmaps are kept; whole sentences.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <inheritdoc cref="Distrust(BlockException)"/>
    /// <param name="imagePath">An image that could not be mounted for it; nothing happens for the URI of an export.</param>
    /// <param name="failure">The failed flush.</param>
    public static void Distrust(string imagePath, BlockException failure)
    {
        if (!NbdUri.IsUri(imagePath))
        {
            Sidecar.Distrust(imagePath, failure, StorageCondition.DescribeBitmapFault(failure));
        }
    }

    /// <inheritdoc cref="Sidecar.Touch"/>
    public void Touch(long notBeforeTicks) => _sidecar?.Touch(_disk.Path, notBeforeTicks);

    /// <summary>Takes what a mount has found. A writable disk begins to keep it with <see cref="Begin"/>.</summary>
    /// <param name="found">The bitmaps.</param>
    /// <param name="fault">Why there can be none; null when there can.</param>
    public void Take(Bitmap[] found, BlockException? fault)
    {
        _bitmaps = found;
        _fault = fault;
    }

    /// <summary>Makes a sidecar of what was found, and the image ready for the dismount. Before the first request.</summary>
    /// <exception cref="BlockException">Why a writable image's own bitmaps can't be kept.</exception>
    public void Begin()
    {
        try
        {
            if (_fault is null && !_disk.IsExport && (_bitmaps.Length != 0 || File.Exists(Sidecar.PathFor(_disk.Path))))
            {
                Rewrite();
            }
        }
        catch (BlockException e)
        {
            // The old file does not follow the guests from here on.
            Sidecar.Distrust(_disk.Path, e);
            GiveUp(e);
        }

        try
        {
            Image?.KeepBitmaps();
        }
        catch
        {
            Abandon();
            throw;
        }
    }

    /// <summary>Makes these the disk's bitmaps, and keeps their present state.</summary>
    /// <param name="bitmaps">The bitmaps.</param>
    /// <param name="undo">Takes back what was changed beside the list, when it can't be kept.</param>
    /// <exception cref="BlockException">The old bitmaps and their old state still count.</exception>
    public void Keep(Bitmap[] bitmaps, Action? undo = null)
    {
        Bitmap[] before = _bitmaps;
        _bitmaps = bitmaps;
        try
        {
            Write();
        }
        catch
        {
            _bitmaps = before;
            undo?.Invoke();
            throw;
        }
    }

    /// <summary>As <see cref="Keep"/>, for what can't be undone any more: a sidecar that can't follow is given up.</summary>
    public void KeepOrGiveUp(Bitmap[] bitmaps)
    {
        _bitmaps = bitmaps;
        try
        {
            Write();
        }
        catch (BlockException e)
        {
            _sidecar?.Fail(e);
        }
    }

    /// <summary>Bits of a new or emptied bitmap, and their room in the sidecar; null for none.</summary>
    public (DirtyBitmap Bits, SidecarArea? Area) TakeBits(long granularityBytes)
    {
        long bitCount = DirtyBitmap.CountBits(_disk.SizeBytes, granularityBytes);
        if (!_disk.IsExport && _sidecar is null)
        {
            MakeSidecar();
        }

        SidecarArea? area = _sidecar is { Failure: null } sidecar ? sidecar.Areas.Take(bitCount) : null;
        return (new DirtyBitmap(_disk.SizeBytes, granularityBytes, area), area);
    }

    /// <summary>Gives the room of bits back that no bitmap has any more. No change is in flight.</summary>
    public void FreeArea(SidecarArea? area)
    {
        if (area is not null)
        {
            _sidecar?.Areas.Free(area);
        }
    }

    /// <summary>Stores the bitmaps in the image where its format can. No request runs.</summary>
    /// <remarks>Not while a session is to go on in a later process: the image has no place for what belongs together then. Its own bitmaps
    /// say "in use", and the sidecar has them all.</remarks>
    public void SaveToImage()
    {
        if (Array.Exists(_bitmaps, bitmap => bitmap.IsPending) ||
            _disk.IsReadOnly || Image is null || _fault is not null || _disk.Condition.Failure is not null)
        {
            return;
        }

        try
        {
            WriteImage(Image);
        }
        catch (BlockException) when (_sidecar is { Failure: null })
        {
            // The sidecar has the same bitmaps and will be left as a clean one. The image's own still say "in use", so the next mount
            // takes the sidecar's.
        }
    }

    /// <summary>Leaves the sidecar as a clean one of the image as it is now. The image is closed and durable.</summary>
    public void Seal()
    {
        if (_sidecar is null)
        {
            return;
        }

        if (_bitmaps.Length == 0)
        {
            // The session that was to make the first one did not end.
            _sidecar.Delete();
            return;
        }

        try
        {
            // The image's time is a part of what the sidecar says of it.
            FileNames.FlushClosed(_disk.Path);
            if (_sidecar.Failure is not null || Array.Exists(_bitmaps, bitmap => bitmap.Area is null))
            {
                Rewrite();
            }

            _sidecar!.Flush();
            _sidecar.Write(Describe(isInUse: false), isDurable: true);
            if (_sidecar.Failure is { } failure)
            {
                throw failure;
            }
        }
        catch (BlockException e)
        {
            LeaveUntrusted(e);
            throw;
        }

        Abandon();
    }

    /// <summary>Writes down that the bitmaps can't be trusted, because a flush of the image failed.</summary>
    public void Distrust(BlockException failure) => _sidecar?.Distrust(failure, StorageCondition.DescribeBitmapFault(failure));

    /// <summary>Closes the sidecar as it is: in use, so that the next mount looks at it with care.</summary>
    public void Abandon()
    {
        _sidecar?.Dispose();
        _sidecar = null;
    }

    private void Write()
    {
        if (_sidecar is { Failure: null } sidecar)
        {
            sidecar.Write(Describe(isInUse: true));
            if (_bitmaps.Length == 0 && Image is null)
            {
                _sidecar = null;
                sidecar.Delete();
            }
        }
    }

    private void WriteImage(IBitmapImage image)
    {
        image.WriteBitmaps([.. _bitmaps.Select(bitmap => new StoredBitmap
        {
            Name = bitmap.ExactName,
            GranularityBytes = bitmap.GranularityBytes,
            IsEnabled = bitmap.IsEnabled,
            Fault = FaultOf(bitmap),
            Bits = FaultOf(bitmap) is null ? bitmap.Bits : null,
        })]);
        if (_sidecar is null && _sidecarFault is not null)
        {
            // It was distrusted when no new one could take its place, and would keep the next mount from trusting the image's.
            Sidecar.TryDelete(Sidecar.PathFor(_disk.Path));
        }

        if (Array.TrueForAll(_bitmaps, bitmap => FaultOf(bitmap) is null && bitmap.BaselineId is null))
        {
            // Reasons and baselines are the only things that the image has no place for.
            _sidecar?.Delete();
            _sidecar = null;
        }
    }

    // The system may have dropped what was written to the sidecar, so nothing written there counts. A new file takes its place and says
    // so; where even that is not to be had, none does.
    private void LeaveUntrusted(BlockException failure)
    {
        foreach (Bitmap bitmap in _bitmaps)
        {
            bitmap.Reason ??= StorageCondition.DescribeBitmapFault(failure);
        }

        try
        {
            Rewrite();
        }
        catch (BlockException)
        {
            Sidecar.TryDelete(Sidecar.PathFor(_disk.Path));
        }
    }

    // An image that keeps bitmaps itself can do without the sidecar, but for a process that is killed; any other disk goes on without
    // bitmaps, because a guest must be able to start.
    private void GiveUp(BlockException cause)
    {
        if (Image is null)
        {
            _fault = cause;
            _notes.Add(cause.Message);
            return;
        }

        _sidecarFault = cause;
        _notes.Add($"The disk's bitmaps are kept in the image alone, and would not survive the end of this process. {cause.Message}");
    }

    // A file that lies there already was given up and does not follow the guests, so a new one takes its place. Bitmaps that are in the
    // image alone stay so until the dismount: guests write to the disk now, and mark bits that can't move meanwhile.
    private void MakeSidecar()
    {
        Sidecar? sidecar = null;
        try
        {
            sidecar = Sidecar.CreateBeside(_disk.Path, Describe(isInUse: true));
            sidecar.TakePlace();
            _sidecar = sidecar;
        }
        catch (BlockException e)
        {
            sidecar?.Delete();
            if (Image is null)
            {
                throw;
            }

            _sidecarFault = e;
        }
    }

    // A new file beside the old one takes its place in one step, whatever the old one's state is.
    private void Rewrite()
    {
        Abandon();
        Sidecar sidecar = Sidecar.CreateBeside(_disk.Path, Describe(isInUse: true));
        try
        {
            foreach (Bitmap bitmap in _bitmaps)
            {
                (bitmap.Bits, bitmap.Area) = sidecar.Areas.TakeCopy(bitmap.Bits);
            }

            if (sidecar.Failure is { } failure)
            {
                throw failure;
            }

            sidecar.Write(Describe(isInUse: true));
            sidecar.Flush();
            sidecar.TakePlace();
            _sidecar = sidecar;
        }
        catch
        {
            sidecar.Delete();
            foreach (Bitmap bitmap in _bitmaps)
            {
                bitmap.Area = null;
            }

            throw;
        }
    }

    private string? FaultOf(Bitmap bitmap) => bitmap.Reason ?? _disk.SharedBitmapFault;

    private SidecarDirectory Describe(bool isInUse)
    {
        Bitmap[] bitmaps = _bitmaps;
        return new SidecarDirectory
        {
            IsInUse = isInUse,
            BootId = BootId.Current,
            DiskLengthBytes = _disk.SizeBytes,
            Image = FileEvidence.Read(_disk.Path),
            ParentsDigest = ParentFile.Digest(_disk.Parents),
            Entries =
            [
                .. bitmaps.Select(bitmap => new SidecarEntry
                {
                    Name = bitmap.ExactName,
                    GranularityBytes = bitmap.GranularityBytes,
                    DataOffsetBytes = bitmap.Area?.Range.OffsetBytes ?? 0,
                    AreaId = bitmap.Area?.Id ?? 0,
                    Digest = isInUse ? 0 : bitmap.Area?.Digest(bitmap.Bits) ?? 0,
                    IsEnabled = bitmap.IsEnabled,
                    IsHidden = bitmap.IsHidden,
                    IsPending = bitmap.IsPending,
                    BaselineId = bitmap.BaselineId,
                    PredecessorIndex = bitmap.Predecessor is { } predecessor ? Array.IndexOf(bitmaps, predecessor) : -1,
                    Fault = FaultOf(bitmap) ?? string.Empty,
                }),
            ],
        };
    }
}
