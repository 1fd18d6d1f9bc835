// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Records;
using Fleece.Disks.Resuming;
using Fleece.Disks.Temp;
using Fleece.Images;

namespace Fleece.Disks;

/// <summary>A session of an earlier process that does not run: one that can't be resumed, or whose disk is not mounted.</summary>
/// <remarks>Its temp image and its log are kept until it is discarded. Threading. All members are safe from any thread.</remarks>
internal sealed class LostSession
{
    private readonly StoredSession _stored;

    private LostSession(StoredSession stored) => _stored = stored;

    /// <summary>"DISK/NAME"; the id of a log that can't be read.</summary>
    public string Id => Description is { } description ? $"{description.DiskName}/{description.SessionName}" : _stored.Id.ToString();

    /// <summary>The identity of its log.</summary>
    public Guid LogId => _stored.Id;

    /// <summary>True when it goes on as soon as its image is mounted with the folder of its log; the image may be missing.</summary>
    public bool CanResume => WasRunning && (!IsImageThere || (OtherImage is null && IsMarked));

    /// <summary>True when something lies where its image lay.</summary>
    [MemberNotNullWhen(true, nameof(ImagePath))]
    public bool IsImageThere => File.Exists(ImagePath);

    /// <summary>Full path of its disk's image; null where its log can't be read.</summary>
    public string? ImagePath => Description?.ImagePath;

    /// <summary>How its image was opened, and is to be opened again; null where its log can't be read.</summary>
    /// <remarks>The format too: a guest can have written another one's header since.</remarks>
    public ImageOpenOptions? OpenedWith => Description is not { } description ? null : new ImageOpenOptions
    {
        Format = description.ImageFormat,
        AllowsOutsideDataFile = description.AllowsOutsideDataFile,
        Untrusted = description.IsImageUntrusted ? UntrustedLimits.Default : null,
    };

    /// <summary>The disk's name; null where its log can't be read.</summary>
    public string? DiskName => Description?.DiskName;

    /// <summary>Why it does not run; a whole sentence.</summary>
    public string Reason =>
        _stored.Fault is { } fault
            ? $"Its log '{_stored.Path}' can't be used: {fault}. {TempFiles.TellOrphan(folder: null, LogId)}"
        : _stored.IsNewer ? $"A newer Fleece has written its log '{_stored.Path}'. Go on with that one."
        : _stored.LostReason is { } reason ? reason
        : !IsImageThere ? $"Its image '{ImagePath}' is not there. With that back, and the files beside it, it can be resumed."
        : OtherImage is { } other ? other
        : !WasRunning
            ? $"Its process ended while it was being started or stopped. The next mount of its image '{ImagePath}' finishes that."
        : IsMarked
            ? $"Its image '{ImagePath}' is not mounted. {TellMissingTemp()}A host mounts it by itself, and Get-FleeceHost tells what " +
              $"keeps it from that; without a host run Resume-FleeceSession {PowerShellText.Argument(Id)} -StatePath " +
              $"{PowerShellText.Literal(StatePath ?? string.Empty)}."
        : $"It was given up, or its image was moved to '{ImagePath}' without the files beside it: no marker there names the session.";

    private bool WasRunning => _stored is { Fault: null, IsNewer: false, State: StoredState.Running or StoredState.Suspended };

    private SessionDescription? Description => _stored.Description;

    // STATE/sessions/ID.log
    private string? StatePath => Path.GetDirectoryName(Path.GetDirectoryName(_stored.Path));

    private string? OtherImage
    {
        get
        {
            try
            {
                return Description is { } description
                    ? ResumeRules.FindOtherFile(description, description.ImagePath, FileEvidence.Read(description.ImagePath))
                    : null;
            }
            catch (BlockException)
            {
                return null; // The mount says why it can't be looked at.
            }
        }
    }

    // A marker that can't be read is left to the mount, which says so.
    private bool IsMarked
    {
        get
        {
            try
            {
                return SessionMarker.Read(ImagePath!) is { } marker &&
                    (marker.Fault is not null || marker.Sessions.Any(marked => marked.Id == _stored.Id));
            }
            catch (BlockException)
            {
                return true;
            }
        }
    }

    /// <summary>The sessions of a folder that run in no process.</summary>
    /// <exception cref="BlockException">Why the folder can't be read.</exception>
    public static IReadOnlyList<LostSession> List(SessionFolder folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        return [.. folder.List().Where(stored => !stored.IsInUse).Select(stored => new LostSession(stored))];
    }

    /// <summary>True when a user who writes <paramref name="name"/> means this session.</summary>
    public bool IsCalled(string name) =>
        string.Equals(Id, name, StringComparison.OrdinalIgnoreCase) ||
        string.Equals(Description?.SessionName, name, StringComparison.OrdinalIgnoreCase);

    /// <summary>The session as its log has it.</summary>
    public SessionInfo Describe()
    {
        // Each of them reads the marker.
        bool canResume = CanResume;
        string reason = Reason;
        if (Description is not { } description)
        {
            return new SessionInfo
            {
                Id = Id,
                Name = Id,
                State = SessionState.Lost,
                BrokenBy = reason,
                CannotResumeReason = reason,
                LogId = LogId,
            };
        }

        return new SessionInfo
        {
            Name = description.SessionName,
            Disk = description.DiskName,
            Id = Id,
            State = SessionState.Lost,
            BrokenBy = reason,
            StartedAt = _stored.StartedAt ?? default,
            InstantId = description.InstantId,
            SizeBytes = description.DiskSizeBytes,
            GranuleSizeBytes = description.GranuleSizeBytes,
            OnCopyError = description.OnCopyError,
            CopyTimeout = description.CopyTimeout,
            TempLimitBytes = description.TempLimitBytes,
            TempWarningPercent = description.ToLimits().WarnsAtPercent,
            MaxGuestDelay = description.MaxGuestDelay,
            TempPath = description.TempPath,
            Bitmap = PrintableText.Of(description.PinnedBitmap),
            NextBitmap = PrintableText.Of(description.NextBitmap),
            CanResume = canResume,
            CannotResumeReason = canResume ? null : reason,
            LogId = LogId,
        };
    }

    /// <summary>Gives the session up: its temp image, where it was its own, its log, and its entry in the marker of the image.</summary>
    /// <returns>Why something is left, for the user to delete; null when nothing is.</returns>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/>: it, or its image, is in use elsewhere. Or why something can't
    /// be removed; the session is listed until all is gone.</exception>
    public string? Discard()
    {
        // Only a process that has the image open for writing may change its marker. One that has no entry there is no part of it any more.
        using LocalFile? image = _stored.State == StoredState.Lost || !IsImageThere || !IsMarked
            ? null
            : LocalFile.Open(ImagePath, isReadOnly: false);
        if (ImagePath is { } imagePath)
        {
            SessionMarker.RemoveEntry(imagePath, LogId);
        }

        bool isTempGone = Description is { IsTempOwned: true } && !Path.Exists(Description.TempPath);
        return ReturningSessions.Remove(_stored) ?? (isTempGone
            ? $"Its old data was not at '{Description!.TempPath}'. {TempFiles.TellOrphan(Path.GetDirectoryName(ImagePath), LogId)}"
            : null);
    }

    private string TellMissingTemp() => Path.Exists(Description!.TempPath) ? string.Empty
        : ResumeRules.TellMissingTemp(Description) + " " + ResumeRules.MissingTempAdvice + " ";

    /// <summary>The id.</summary>
    public override string ToString() => Id;
}
