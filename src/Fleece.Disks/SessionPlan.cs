// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Resuming;
using Fleece.Disks.Temp;

namespace Fleece.Disks;

/// <summary>A session that is being started: all that is known before its instant.</summary>
/// <remarks>Threading. One thread, under the lock of the disk's chain.</remarks>
/// <param name="disk">The disk.</param>
/// <param name="name">The session's name.</param>
/// <param name="temp">Where old data goes.</param>
/// <param name="options">How it is started.</param>
internal sealed class SessionPlan(Disk disk, string name, TempImage temp, SessionOptions options)
{
    private readonly Guid _instantId = Guid.NewGuid();
    private string? _cannotResumeReason;

    /// <summary>"DISK/NAME".</summary>
    public string Id => $"{disk.Name}/{name}";

    /// <summary>Its turn with the disk's bitmaps; null for nothing.</summary>
    public BitmapTurn? Turn { get; set; }

    /// <summary>Its log and marker, for a later process; null for nothing.</summary>
    public KeptSession? Kept { get; private set; }

    /// <summary>A point in time that never begins: it shows whether there can be one.</summary>
    /// <exception cref="BlockException">As <see cref="PointInTime"/>.</exception>
    public PointInTime Try() => Pin(options.Ranges);

    /// <summary>Makes the log, where a later process can go on with the session. It says that the instant has not come.</summary>
    /// <param name="tried">What <see cref="Try"/> gave.</param>
    /// <param name="leaderId">The log that decides whether the start has happened; null for this one.</param>
    /// <returns>Null where no later process can.</returns>
    /// <exception cref="BlockException">Why there can be no log. None is left then.</exception>
    public KeptSession? Keep(PointInTime tried, Guid? leaderId)
    {
        _cannotResumeReason = SessionTerms.FindKeepFault(disk, options.Folder, temp);
        if (_cannotResumeReason is not null)
        {
            temp.TakeName();
            return null;
        }

        Guid id = Guid.NewGuid();
        StoredTurn? turn = Turn?.Store(TurnOutcome.GoesOn, _instantId);
        SessionDescription description = new()
        {
            Id = id,
            LeaderId = leaderId ?? id,
            DiskName = disk.Name,
            ImagePath = disk.Path,
            ImageFormat = disk.Format!.Value,
            IsImageUntrusted = disk.Storage.OpenedWith.Untrusted is not null,
            AllowsOutsideDataFile = disk.Storage.OpenedWith.AllowsOutsideDataFile,
            ImageFileId = FileEvidence.Read(disk.Path).FileId,
            Parents = disk.Storage.Parents,
            DiskSizeBytes = disk.SizeBytes,
            SessionName = name,
            InstantId = _instantId,
            GranuleSizeBytes = tried.GranuleSizeBytes,
            OnCopyError = options.OnCopyError,
            CopyTimeout = options.Limits.Timeout,
            TempLimitBytes = options.Limits.TempBytes,
            TempWarningPercent = options.Limits.TempWarningPercent,
            MaxGuestDelay = options.Limits.MaxGuestDelay,
            Consumers = options.Consumers,
            TempPath = temp.NameToKeep(id),
            TempFormat = temp.Format!.Value,
            TempFileId = FileEvidence.Read(temp.Path).FileId,
            IsTempOwned = temp.IsOurs,
            TempReadsAsZero = temp.ReadsAsZero,
            PinnedBitmap = turn?.PinnedName,
            NextBitmap = turn?.SuccessorName,
            BaselineId = turn?.BaselineId,
            IsLimited = turn is { IsLimited: true },
            HasRanges = HasRanges,
        };
        Kept = new KeptSession(SessionLog.Create(options.Folder!, description, HasRanges ? tried.Maps : null), disk.Path);
        FailPoint.Reach("start-log-made");
        return Kept;
    }

    /// <summary>Gives the temp image the name that the log knows, and names the session in the marker beside the disk's image.</summary>
    public void Mark()
    {
        temp.Keep(Kept!.Id);
        FailPoint.Reach("start-temp-kept");
        Kept.Mark(Id);
        FailPoint.Reach("start-marked");
    }

    /// <summary>Makes the session. At the instant, before it begins.</summary>
    /// <exception cref="BlockException">Why its log can't take the bitmap's ranges.</exception>
    public Session Make()
    {
        // A bitmap without a baseline counts from no backup, so the whole disk is what it takes to make one.
        bool isLimitedByBitmap = Turn is { IsLimited: true, Pinned: not null };
        IEnumerable<BlockRange>? ranges = HasRanges ? options.Ranges : isLimitedByBitmap ? Turn!.Pinned!.Bits.DirtyRanges() : null;
        PointInTime point = Pin(ranges);
        if (Kept is not null)
        {
            if (isLimitedByBitmap)
            {
                Kept.Log.StoreDenied(point.Maps);
            }

            Kept.Log.Follow(point.Maps);
        }

        SessionTerms terms = new()
        {
            Name = name,
            InstantId = _instantId,
            HasRanges = HasRanges,
            Kept = Kept,
            CannotResumeReason = _cannotResumeReason,
        };
        return new Session(disk, terms, temp, point, Turn);
    }

    private bool HasRanges => options.Ranges is not null && Turn?.Pinned is null;

    private PointInTime Pin(IEnumerable<BlockRange>? ranges) => new(
        disk.Chain.Tracking.Below,
        temp.Node,
        temp.ReadsAsZero,
        temp.GranuleSizeFor(disk.Storage, options.GranuleSizeBytes),
        options.OnCopyError,
        ranges,
        options.Limits,
        options.Consumers,
        Kept?.Log,
        restored: null,
        Kept is null ? WriteFlags.None : temp.KeptWriteFlags);
}
