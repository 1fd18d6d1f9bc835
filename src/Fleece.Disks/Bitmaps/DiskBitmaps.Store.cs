// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.Nbd;

namespace Fleece.Disks.Bitmaps;

/// <content>How bitmaps outlive a mount and a process: the sidecar, and the image's own bitmaps where its format has them.</content>
public sealed partial class DiskBitmaps : IChangeWitness
{
    private readonly IBitmapImage? _image;
    private readonly IReadOnlyList<Bitmap> _ofParents = [];
    private BlockException? _storeFault;
    private BlockException? _sidecarFault;
    private volatile Sidecar? _sidecar;
    private bool _wasSealed;

    private DiskBitmaps(Disk disk, IBlockNode image, FileEvidence? foundImage)
    {
        _disk = disk;
        _image = image is IBitmapImage { HasRoomForBitmaps: true } room ? room : null;
        IsPersistent = !NbdUri.IsUri(disk.Path);
        if (!IsPersistent)
        {
            return;
        }

        List<Bitmap> found = [];
        bool knowsAll = false;
        try
        {
            using Sidecar? sidecar = Sidecar.Open(disk.Path, isReadOnly: true);
            if (sidecar is not null)
            {
                knowsAll = ReadSidecar(sidecar, foundImage ?? FileEvidence.Read(disk.Path), found);
            }
        }
        catch (BlockException e) when (e.Kind == BlockErrorKind.BitmapStoreUnusable)
        {
            if (_image is null)
            {
                GiveUpStore(e);
            }
            else
            {
                _notes.Add($"What was recorded since the image was closed last is lost. {e.Message}");
            }
        }

        ReadImage(found, knowsAll);
        EndSessions(found);
        foreach (Bitmap bitmap in found)
        {
            bitmap.Reason ??= SharedFault;
        }

        ParentBitmaps parents = new(disk);
        _ofParents = parents.Read(image);
        _notes.AddRange(parents.Notes);
        _notes.AddRange(found.Where(bitmap => bitmap.Reason is not null)
            .Select(bitmap => $"The bitmap '{bitmap.Name}' can't be trusted. {bitmap.Reason}"));
        _bitmaps = [.. found];
    }

    /// <summary>True when bitmaps survive the dismount.</summary>
    public bool IsPersistent { get; }

    /// <summary>The file that keeps up with the bitmaps; null for none.</summary>
    internal Sidecar? Sidecar => _sidecar;

    /// <summary>True when the disk can have bitmaps.</summary>
    public bool IsUsable => _storeFault is null;

    /// <summary>Why a killed process would lose what is recorded now; null while nothing would be lost.</summary>
    public string? JournalFault => (_sidecar is { } sidecar ? sidecar.Failure : _sidecarFault)?.Message;

    /// <inheritdoc/>
    void IChangeWitness.BeforeChange() => _sidecar?.BeforeChange();

    // Bitmaps of a shared disk are of use while it is mounted, for what goes through that mount; what others write meanwhile is missing.
    private string? SharedFault => _disk.IsShared
        ? "The disk was mounted with -Shared, and what others may have written to it meanwhile was not recorded."
        : null;

    /// <summary>Reads the bitmaps of a disk that nobody uses yet.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="image">Its image.</param>
    /// <param name="foundImage">The image's file before it was opened, which may have changed it; null for none.</param>
    /// <exception cref="BlockException">Why a writable image's own bitmaps can't be kept.</exception>
    internal static DiskBitmaps Read(Disk disk, IBlockNode image, FileEvidence? foundImage) => new(disk, image, foundImage);

    /// <summary>Makes what was read record. Before the first request; for a writable disk.</summary>
    internal void Begin()
    {
        try
        {
            if (_storeFault is null && IsPersistent && (_bitmaps.Length != 0 || File.Exists(Sidecar.PathFor(_disk.Path))))
            {
                Rewrite();
            }
        }
        catch (BlockException e)
        {
            // The old file does not follow the guests from here on.
            Sidecar.Distrust(_disk.Path, e);
            GiveUpStore(e);
        }

        try
        {
            _image?.KeepBitmaps();
        }
        catch
        {
            Abandon();
            throw;
        }

        UpdateRecording();
    }

    /// <summary>Stores the bitmaps in the image where its format can. No request runs.</summary>
    internal void SaveToImage()
    {
        if (_disk.IsReadOnly || _image is null || _storeFault is not null || _disk.Condition.Failure is not null)
        {
            return;
        }

        try
        {
            WriteImage(_image);
        }
        catch (BlockException) when (_sidecar is { Failure: null })
        {
            // The sidecar has the same bitmaps and will be left as a clean one. The image's own still say "in use", so the next mount
            // takes the sidecar's.
        }
    }

    private void WriteImage(IBitmapImage image)
    {
        image.WriteBitmaps([.. _bitmaps.Select(bitmap => new StoredBitmap
        {
            Name = bitmap.ExactName,
            GranularityBytes = bitmap.GranularityBytes,
            IsEnabled = bitmap.IsEnabled,
            Fault = bitmap.Reason ?? SharedFault,
            Bits = (bitmap.Reason ?? SharedFault) is null ? bitmap.Bits : null,
        })]);
        if (_sidecar is null && _sidecarFault is not null)
        {
            // It was distrusted when no new one could take its place, and would keep the next mount from trusting the image's.
            Sidecar.TryDelete(Sidecar.PathFor(_disk.Path));
        }

        if (SharedFault is null && Array.TrueForAll(_bitmaps, bitmap => bitmap is { Reason: null, BaselineId: null }))
        {
            // Reasons and baselines are the only things that the image has no place for.
            _sidecar?.Delete();
            _sidecar = null;
        }
    }

    /// <summary>Leaves the sidecar as a clean one of the image as it is now. The image is closed and durable.</summary>
    internal void Seal()
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
    internal void Distrust(BlockException failure) => _sidecar?.Distrust(failure, StorageCondition.DescribeBitmapFault(failure));

    /// <inheritdoc cref="Distrust(BlockException)"/>
    /// <param name="imagePath">An image that could not be mounted for it.</param>
    /// <param name="failure">The failed flush.</param>
    internal static void Distrust(string imagePath, BlockException failure)
    {
        if (!NbdUri.IsUri(imagePath))
        {
            Sidecar.Distrust(imagePath, failure, StorageCondition.DescribeBitmapFault(failure));
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

    /// <summary>Closes the sidecar as it is: in use, so that the next mount looks at it with care.</summary>
    internal void Abandon()
    {
        _sidecar?.Dispose();
        _sidecar = null;
    }

    /// <summary>Keeps the present state of all bitmaps in the directory. The chain is locked.</summary>
    /// <exception cref="BlockException">The old state still counts.</exception>
    internal void Persist()
    {
        if (_sidecar is { Failure: null } sidecar)
        {
            sidecar.Write(Describe(isInUse: true));
            if (_bitmaps.Length == 0 && _image is null)
            {
                _sidecar = null;
                sidecar.Delete();
            }
        }
    }

    /// <summary>As <see cref="Persist"/>, for what can't be undone any more.</summary>
    internal void PersistOrGiveUp()
    {
        try
        {
            Persist();
        }
        catch (BlockException e)
        {
            _sidecar?.Fail(e);
        }
    }

    private void CheckStore()
    {
        if (_storeFault is { } fault)
        {
            throw new BlockException(fault.Kind, fault.Message, fault.Path, operation: fault.Operation, cause: fault);
        }
    }

    // An image that keeps bitmaps itself can do without the sidecar, but for a process that is killed; any other disk goes on without
    // bitmaps, because a guest must be able to start.
    private void GiveUpStore(BlockException cause)
    {
        if (_image is null)
        {
            _storeFault = cause;
            _notes.Add(cause.Message);
            return;
        }

        _sidecarFault = cause;
        _notes.Add($"The disk's bitmaps are kept in the image alone, and would not survive the end of this process. {cause.Message}");
    }

    private (DirtyBitmap Bits, SidecarArea? Area) NewBits(long granularityBytes)
    {
        long bitCount = DirtyBitmap.CountBits(_disk.SizeBytes, granularityBytes);
        if (IsPersistent && _sidecar is null)
        {
            KeepSidecar();
        }

        SidecarArea? area = _sidecar is { Failure: null } sidecar ? sidecar.TakeArea(bitCount) : null;
        return (new DirtyBitmap(_disk.SizeBytes, granularityBytes, area), area);
    }

    // A file that lies there already was given up and does not follow the guests, so a new one takes its place. Bitmaps that are in the
    // image alone stay so until the dismount: guests write to the disk now, and mark bits that can't move meanwhile.
    private void KeepSidecar()
    {
        Sidecar? sidecar = null;
        try
        {
            sidecar = Sidecar.CreateBeside(_disk.Path, Describe(isInUse: true));
            sidecar.TakePlace(Sidecar.PathFor(_disk.Path));
            _sidecar = sidecar;
        }
        catch (BlockException e)
        {
            sidecar?.Delete();
            if (_image is null)
            {
                throw;
            }

            _sidecarFault = e;
        }
    }

    private void FreeArea(SidecarArea? area)
    {
        if (area is not null)
        {
            _sidecar?.FreeArea(area);
        }
    }

    // A new file beside the old one takes its place in one step, whatever the old one's state is.
    private void Rewrite()
    {
        _sidecar?.Dispose();
        _sidecar = null;
        string path = Sidecar.PathFor(_disk.Path);
        Sidecar sidecar = Sidecar.CreateBeside(_disk.Path, Describe(isInUse: true));
        try
        {
            foreach (Bitmap bitmap in _bitmaps)
            {
                SidecarArea area = sidecar.TakeArea(bitmap.Bits.BitCount);
                DirtyBitmap bits = new(_disk.SizeBytes, bitmap.GranularityBytes, area);
                Copy(bitmap.Bits, bits, area);
                (bitmap.Bits, bitmap.Area) = (bits, area);
            }

            if (sidecar.Failure is { } failure)
            {
                throw failure;
            }

            sidecar.Write(Describe(isInUse: true));
            sidecar.Flush();
            sidecar.TakePlace(path);
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

    private static void Copy(DirtyBitmap from, DirtyBitmap to, SidecarArea area)
    {
        for (long firstByte = 0; firstByte < from.LengthInBytes; firstByte += IBitmapJournal.PageBytes)
        {
            if (from.CopyTo(firstByte, area.Page))
            {
                to.Load(firstByte, area.Page);
                area.Store(firstByte / IBitmapJournal.PageBytes);
            }
        }
    }

    private SidecarDirectory Describe(bool isInUse)
    {
        Bitmap[] bitmaps = _bitmaps;
        return new SidecarDirectory
        {
            IsInUse = isInUse,
            BootId = BootId.Current,
            DiskLengthBytes = _disk.SizeBytes,
            Image = FileEvidence.Read(_disk.Path),
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
                    Fault = bitmap.Reason ?? SharedFault ?? string.Empty,
                }),
            ],
        };
    }
}
