// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Block.Telemetry;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Chain;
using Fleece.Disks.Records;
using Fleece.Disks.Resuming;
using Fleece.Disks.Storage;
using Fleece.Disks.Temp;
using Fleece.Images;
using Fleece.Images.Chain;
using Fleece.Nbd;
using Fleece.Nbd.Tls;

namespace Fleece.Disks;

/// <summary>A mounted image: the root that guests and cmdlets talk to while sessions come and go under it.</summary>
/// <remarks>Threading. All members are safe from any thread. Ownership. The disk owns the image and its sessions.</remarks>
#pragma warning disable CA1001 // The token source has no timer and no handle; exports may ask for its token after the end.
internal sealed class Disk : IFleeceable, IAsyncDisposable
{
    private readonly CancellationTokenSource _ended = new();
    private volatile Session[] _sessions = [];
    private Task _leftCopies = Task.CompletedTask;
    private bool _isClosed;

    /// <summary>Makes the disk of an image that is open.</summary>
    /// <param name="storage">The image.</param>
    /// <param name="files">The files that it was opened with.</param>
    /// <param name="turns">What sessions of earlier processes that come back, or whose end is finished now, had to do with its
    /// bitmaps.</param>
    /// <exception cref="BlockException">Why a writable image's own bitmaps can't be kept.</exception>
    internal Disk(DiskStorage storage, ImageFiles files, IReadOnlyList<StoredTurn> turns)
    {
        Storage = storage;
        BitmapStore store = new(storage);
        Witness = new ChangeWitness(storage, () => _sessions, store.Touch, storage.Journal.Touch, TouchMarker);
        Chain = new DiskChain(storage.Name, storage.Image, Witness);
        Bitmaps = new DiskBitmaps(storage, Chain, store, turns);
        storage.Condition.Listen(OnFlushFailed);
        Device.Poisoned = storage.Condition.Fail;
        try
        {
            if (!IsReadOnly)
            {
                Witness.Begin();
                Bitmaps.Begin();
                Witness.TouchAll(); // Their file may be a new one.
            }

            Notes = [.. FindNotes(files).Where(note => note is not null).Select(note => PrintableText.Of(note!))];
        }
        catch
        {
            Witness.Dispose();
            throw;
        }
    }

    /// <summary>The name cmdlets and exports use.</summary>
    public string Name => Storage.Name;

    /// <summary>The identity of this mount, by which a record of an earlier one is told.</summary>
    internal Guid MountId => Storage.MountId;

    /// <summary>The image file, or the export's URI.</summary>
    public string Path => Storage.Path;

    /// <summary>The image's format; null for a node that is no image file.</summary>
    public ImageFormat? Format => Storage.Format;

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes => Storage.SizeBytes;

    /// <summary>True when the disk refuses writes.</summary>
    public bool IsReadOnly => Storage.IsReadOnly;

    /// <inheritdoc cref="DiskStorage.IsShared"/>
    public bool IsShared => Storage.IsShared;

    /// <summary>Whether the storage keeps what it is given. A disk that has failed is read and written as before; its flushes fail, its
    /// sessions are broken, and its bitmaps are not trusted.</summary>
    public DiskStatus OperationalStatus => Storage.Condition.Failure is null ? DiskStatus.Ok : DiskStatus.Failed;

    /// <summary>The first flush that failed, with its file; null while none has.</summary>
    public string? FailureReason => Storage.Condition.Failure?.Message;

    /// <summary>The running sessions, oldest first.</summary>
    public IReadOnlyList<Session> Sessions => _sessions;

    /// <summary>What guests read and write.</summary>
    public BlockDevice Device => Chain.Device;

    /// <summary>Named records of what guests change.</summary>
    public DiskBitmaps Bitmaps { get; }

    /// <inheritdoc/>
    public BitmapLifetime BitmapsLast =>
        !Bitmaps.IsPersistent ? BitmapLifetime.Mount
        : Storage.IsExport ? BitmapLifetime.ImageOnExport
        : BitmapLifetime.Image;

    /// <summary>The image, and what the disk may promise over it.</summary>
    internal DiskStorage Storage { get; }

    /// <summary>Keeps the times of the files beside the image as young as its last change.</summary>
    internal ChangeWitness Witness { get; }

    /// <summary>Requests of guests that take longer than they should.</summary>
    internal SlowRequests Slow { get; } = new();

    /// <summary>What requests go through on their way to the image.</summary>
    internal DiskChain Chain { get; }

    /// <summary>Cancelled when the disk begins to close.</summary>
    internal CancellationToken Ended => _ended.Token;

    /// <summary>Told what sessions warn of, as <see cref="MountedDisks.Told"/>.</summary>
    internal Action<string>? Told { get; set; }

    /// <summary>Told faults, as <see cref="MountedDisks.Failed"/>.</summary>
    internal Action<DiskFault>? Failed { get; set; }

    /// <summary>The names that the disk is published under.</summary>
    internal IReadOnlyList<string> ExportNames { get; set; } = [];

    /// <summary>The addresses at which clients reach the disk itself.</summary>
    internal IReadOnlyList<NbdUri> ExportUris { get; set; } = [];

    /// <summary>What the user should hear of how the disk was found when it was mounted; whole sentences.</summary>
    public IReadOnlyList<string> Notes { get; private set; }

    /// <inheritdoc cref="DiskOpening.OpenAsync"/>
    public static ValueTask<Disk> OpenAsync(
        string path,
        string? name = null,
        ImageOpenOptions? options = null,
        TlsClientOptions? tls = null,
        bool isShared = false,
        SessionFolder? folder = null,
        SessionHandling handling = SessionHandling.Resume,
        CancellationToken cancellationToken = default) =>
        DiskOpening.OpenAsync(path, name, options, tls, isShared, folder, handling, cancellationToken);

    /// <summary>The session of that name, or null.</summary>
    public Session? FindSession(string name) =>
        Array.Find(_sessions, session => string.Equals(session.Name, name, StringComparison.OrdinalIgnoreCase));

    /// <summary>Stops all sessions, flushes and closes the image. Idempotent.</summary>
    public ValueTask DisposeAsync() => CloseAsync(suspends: false);

    /// <summary>Flushes and closes the image, and leaves the sessions that can be resumed to a later process, durably; the others are
    /// stopped. Idempotent.</summary>
    public ValueTask SuspendAsync() => CloseAsync(suspends: true);

    private async ValueTask CloseAsync(bool suspends)
    {
        await _ended.CancelAsync().ConfigureAwait(false);

        // A session that starts meanwhile is stopped too; under the lock none can start, and later ones find the device closed.
        Session? session;
        do
        {
            session = null;
            await ChainChange.RunToTheEndAsync([Chain], CloseOrFindSessionAsync).ConfigureAwait(false);
            if (session is not null)
            {
                await session.StopAsync().ConfigureAwait(false);
            }
        }
        while (session is not null);

        ValueTask CloseOrFindSessionAsync(ChainChange change)
        {
            session = _sessions.FirstOrDefault(running => !suspends || !running.TryBeginSuspend());
            return session is null ? CloseImageAsync(suspends) : default;
        }
    }

    /// <summary>The disk as it is now.</summary>
    public DiskInfo Describe() => new()
    {
        Name = Name,
        Path = Path,
        Format = Format,
        SizeBytes = SizeBytes,
        IsReadOnly = IsReadOnly,
        IsShared = IsShared,
        OperationalStatus = OperationalStatus,
        FailureReason = FailureReason,
        Sessions = new RecordList<string>(Sessions.Select(session => session.Id)),
        Notes = new RecordList<string>([.. Notes, .. Storage.Warnings.Select(note => PrintableText.Of(note))]),
        MountId = MountId,
    };

    /// <summary>The name.</summary>
    public override string ToString() => Name;

    private async ValueTask CloseImageAsync(bool suspends)
    {
        if (_isClosed)
        {
            return;
        }

        _isClosed = true;
        await _leftCopies.ConfigureAwait(false);
        bool isFlushed = IsReadOnly;
        bool isClosed = false;
        bool goesOn = suspends && (Storage.HasSessionFolder || _sessions.Length != 0);
        try
        {
            try
            {
                if (!IsReadOnly)
                {
                    Storage.FindLoss(); // The flush fails then too, and tells no guest.
                    await Device.FlushAsync().ConfigureAwait(false);
                    isFlushed = true;
                }
            }
            finally
            {
                await Device.DisposeAsync().ConfigureAwait(false);
                await CloseStorageAsync(isFlushed).ConfigureAwait(false);
            }

            isClosed = true;
        }
        catch (BlockException failure) when (Storage.IsExport && !IsReadOnly)
        {
            throw Storage.LeftUnflushed(failure);
        }
        finally
        {
            await SuspendSessionsAsync(isClosed && Storage.Condition.Failure is null).ConfigureAwait(false);
        }

        Storage.EndJournal(goesOn);
    }

    // The bitmaps go into the image while it is open, and the sidecar describes the image when nothing changes it any more.
    // What fails on the way leaves a sidecar that still says "in use".
    private async ValueTask CloseStorageAsync(bool isFlushed)
    {
        try
        {
            foreach (Session session in _sessions)
            {
                await session.CloseReadersAsync().ConfigureAwait(false);
            }

            // Closing the image is this process's doing too.
            Witness.TouchAll();
            FailPoint.Reach("suspend-before-close");
            try
            {
                await Storage.RunAsync(() =>
                {
                    Bitmaps.Store.SaveToImage();
                    return true;
                }).ConfigureAwait(false);
            }
            finally
            {
                await Storage.Image.DisposeAsync().ConfigureAwait(false);
            }

            if (isFlushed)
            {
                Bitmaps.Store.Seal();
            }
        }
        finally
        {
            Witness.Dispose();
            Bitmaps.Store.Abandon();
        }
    }

    // Last of all: how image and temp were left is what the next process looks for.
    private async ValueTask SuspendSessionsAsync(bool isOrderly)
    {
        Session[] sessions = _sessions;
        _sessions = [];
        FailPoint.Reach("suspend-closed");
        BlockException? failure = null;
        FileEvidence? image = null;
        try
        {
            if (isOrderly && sessions.Length != 0)
            {
                FileNames.FlushClosed(Path); // With its time, which is a part of what is stored.
                image = FileEvidence.Read(Path);
            }
        }
        catch (BlockException e)
        {
            failure = e;
        }

        foreach (Session session in sessions)
        {
            try
            {
                await session.SuspendAsync(image).ConfigureAwait(false);
            }
            catch (BlockException e)
            {
                // It goes on after this process as after a kill.
                failure ??= e;
            }
        }

        if (failure is not null)
        {
            throw failure;
        }
    }

    private IEnumerable<string?> FindNotes(ImageFiles files) =>
    [
        files.OutsideNote, DiskSectors.FindNote(Storage.Image, Path), .. Bitmaps.Notes,
        .. Storage.IsExport
            ? (IEnumerable<string?>)[Storage.OpeningNote, Storage.SharingNote]
            : TempFiles.Clear(System.IO.Path.GetDirectoryName(Path)!, Storage),
    ];

    private void TouchMarker(long notBeforeTicks)
    {
        if (Array.Exists(_sessions, session => session.CanResume))
        {
            SessionMarker.TryTouch(Path, notBeforeTicks, [.. _sessions.Select(session => session.LogPosition).OfType<LogPosition>()]);
        }
    }

    /// <summary>Adds to <see cref="Notes"/>. Before the disk is served.</summary>
    internal void AddNotes(IEnumerable<string> notes) => Notes = [.. Notes, .. notes.Select(note => PrintableText.Of(note))];

    /// <summary>Which image of the disk's chain stores the run at an offset. No filter is asked: they store nothing of the disk.</summary>
    internal ValueTask<DepthRun> FindDepthAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        Device.AskAsync(
            offsetBytes,
            lengthBytes,
            (atBytes, forBytes) => AllocationDepth.FindAsync(Storage.Image, Format, atBytes, forBytes, cancellationToken),
            cancellationToken);

    /// <inheritdoc cref="DiskStorage.CheckExclusive"/>
    internal void CheckExclusive() => Storage.CheckExclusive();

    /// <summary>Puts a session's filter over the others. At an instant of a <see cref="ChainChange"/>.</summary>
    internal void Push(Session session)
    {
        Chain.Tracking.Below = session.Point.Filter;
        _sessions = [.. _sessions, session];
        if (Storage.Condition.Failure is { } failure)
        {
            // It came after the session was prepared, maybe before the session was in the list.
            session.Faults.Break(failure);
        }
    }

    // Of lost writes a snapshot may show the old bytes or the new ones.
    private void OnFlushFailed(BlockException failure)
    {
        Bitmaps.Store.Distrust(failure);
        Failed?.Invoke(new DiskFault(DiskFaultKind.DiskFailed, Name, failure));
        Array.ForEach(_sessions, session => session.Faults.Break(failure));
    }

    /// <summary>Takes a session's filter out, wherever it stands. At an instant of a <see cref="ChainChange"/>.</summary>
    internal void Unlink(Session session)
    {
        Session[] sessions = _sessions;
        int index = Array.IndexOf(sessions, session);
        Invariant.Require(index >= 0, "R6", "a session's filter is in its disk's chain until it stops");
        if (index == sessions.Length - 1)
        {
            Chain.Tracking.Below = session.Point.Filter.Active;
        }
        else
        {
            sessions[index + 1].Point.Filter.Active = session.Point.Filter.Active;
        }

        _sessions = [.. sessions.AsSpan(0, index), .. sessions.AsSpan(index + 1)];

        // Copies that their guests have left read the image until they end.
        Task copies = session.Point.CopiesEndedAsync().AsTask();
        _leftCopies = _leftCopies.IsCompleted ? copies : Task.WhenAll(_leftCopies, copies);
    }

    ValueTask<IReadOnlyList<BitmapDescription>> IFleeceable.ListBitmapsAsync(CancellationToken cancellationToken) =>
        new([.. Bitmaps.All.Select(bitmap => bitmap.Describe())]);

    async ValueTask<BitmapDescription> IFleeceable.CreateBitmapAsync(string name, CancellationToken cancellationToken) =>
        (await Bitmaps.CreateAsync(name, cancellationToken: cancellationToken).ConfigureAwait(false)).Describe();

    async ValueTask<BitmapDescription> IFleeceable.RestartBitmapAsync(string exactName, CancellationToken cancellationToken)
    {
        await Bitmaps.ClearAsync(exactName, cancellationToken).ConfigureAwait(false);
        Bitmap bitmap = Bitmaps.Find(exactName);
        if (!bitmap.IsEnabled)
        {
            await Bitmaps.EnableAsync(exactName, cancellationToken).ConfigureAwait(false);
        }

        return bitmap.Describe();
    }

    ValueTask IFleeceable.RemoveBitmapAsync(string exactName, CancellationToken cancellationToken) =>
        Bitmaps.RemoveAsync(exactName, cancellationToken);

    async ValueTask<IFleeceSession> IFleeceable.BeginSessionAsync(SessionOptions options, CancellationToken cancellationToken) =>
        (await Session.StartAsync([this], options, cancellationToken).ConfigureAwait(false))[0];

    ValueTask IFleeceable.FlushAsync(CancellationToken cancellationToken) => Device.FlushAsync(cancellationToken);
}
