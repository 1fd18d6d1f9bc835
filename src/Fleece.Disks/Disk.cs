// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks.Bitmaps;
using Fleece.Images;
using Fleece.Images.Chain;
using Fleece.Nbd;
using Fleece.Nbd.Tls;

namespace Fleece.Disks;

/// <summary>A mounted image: the root that guests and cmdlets talk to while sessions come and go under it.</summary>
/// <remarks>
/// <para>The chain under <see cref="Device"/> is: what records changes in bitmaps, filter of the newest session, ..., filter of the
/// oldest, image. It changes only while the device is quiesced (R6).</para>
/// <para>Threading. All members are safe from any thread. Ownership. The disk owns the image and its sessions.</para>
/// </remarks>
public sealed partial class Disk : IAsyncDisposable
{
    private readonly SemaphoreSlim _chainLock = new(1, 1);
    private readonly IBlockNode _image;
    private readonly StorageCondition _storage;
    private volatile Session[] _sessions = [];
    private Task _leftCopies = Task.CompletedTask;
    private bool _isClosed;

    private Disk(
        string name, string path, OpenedStorage opened, bool isShared, StorageCondition storage, string? outsideNote)
    {
        IBlockNode image = opened.Node;
        _storage = storage;
        _export = opened.Identity;
        _isSharingAccepted = isShared;
        Name = name;
        Path = path;
        Format = opened.Format;
        _image = image;
        IsReadOnly = image.Geometry.IsReadOnly;
        SizeBytes = image.Geometry.LengthBytes;
        Bitmaps = DiskBitmaps.Read(this, image, opened.Found);
        string[] firstNotes = [.. new[] { outsideNote, DiskSectors.FindNote(image, path) }.OfType<string>()];
        string[] lastNotes = IsExport
            ? [.. new[] { NoteOnSharing() }.OfType<string>()]
            : [.. TempFiles.Clear(System.IO.Path.GetDirectoryName(path)!, this)];
        Notes = [.. firstNotes.Concat(Bitmaps.Notes).Concat(lastNotes).Select(note => PrintableText.Of(note))];
        Tracking = new DirtyTrackingNode(image, Bitmaps);
        Device = new BlockDevice(Tracking, name);
        storage.Listen(OnFlushFailed);
        if (!IsReadOnly)
        {
            Bitmaps.Begin();
        }
    }

    /// <summary>The name cmdlets and exports use.</summary>
    public string Name { get; }

    /// <summary>The identity of this mount, by which a record of an earlier one is told.</summary>
    internal Guid MountId { get; } = Guid.NewGuid();

    /// <summary>The image file, or the export's URI.</summary>
    public string Path { get; }

    /// <summary>The image's format; null for a node that is no image file.</summary>
    public ImageFormat? Format { get; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes { get; }

    /// <summary>True when the disk refuses writes.</summary>
    public bool IsReadOnly { get; }

    /// <summary>Whether the storage keeps what it is given. A disk that has failed is read and written as before; its flushes fail, its
    /// sessions are broken, and its bitmaps are not trusted.</summary>
    public DiskStatus OperationalStatus => _storage.Failure is null ? DiskStatus.Ok : DiskStatus.Failed;

    /// <summary>The first flush that failed, with its file; null while none has.</summary>
    public string? FailureReason => _storage.Failure?.Message;

    /// <summary>The running sessions, oldest first.</summary>
    public IReadOnlyList<Session> Sessions => _sessions;

    /// <summary>What guests read and write.</summary>
    public BlockDevice Device { get; }

    /// <summary>Named records of what guests change.</summary>
    public DiskBitmaps Bitmaps { get; }

    /// <summary>True when <see cref="Path"/> is a URI: the disk has no file on this machine, and nothing can lie beside it.</summary>
    internal bool IsExport => NbdUri.IsUri(Path);

    /// <summary>Where the bytes end that can be anything but zeros: the disk's end, or less than a sector before it.</summary>
    internal long DataEndBytes => _image is PaddedNode padded ? padded.StoredBytes : SizeBytes;

    /// <summary>The names that the disk is published under.</summary>
    internal IReadOnlyList<string> ExportNames { get; set; } = [];

    /// <summary>The first failed flush of the image's files.</summary>
    internal StorageCondition Condition => _storage;

    /// <summary>What the user should hear of how the disk was found when it was mounted; whole sentences.</summary>
    public IReadOnlyList<string> Notes { get; }

    /// <summary>The top of the chain.</summary>
    internal DirtyTrackingNode Tracking { get; }

    /// <summary>Opens an image, or an export of an NBD server, as a disk.</summary>
    /// <param name="path">The image file, or an NBD URI.</param>
    /// <param name="name">The disk's name; null for the file's name without its extension.</param>
    /// <param name="options">How it is opened; null for the defaults.</param>
    /// <param name="tls">Certificates for an nbds URI.</param>
    /// <param name="isShared">True when others may write to the disk as well, and no point in time is to be guaranteed.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public static async ValueTask<Disk> OpenAsync(
        string path,
        string? name = null,
        ImageOpenOptions? options = null,
        TlsClientOptions? tls = null,
        bool isShared = false,
        CancellationToken cancellationToken = default)
    {
        string fullPath = Storage.FullAddress(path);
        StorageCondition storage = new();
        ImageFiles files = new();
        ImageOpenOptions opening = (options ?? new ImageOpenOptions()) with { FlushFailed = storage.Fail, Files = files };
        try
        {
            OpenedStorage opened = await Storage
                .OpenAsync(fullPath, opening, tls, cancellationToken).ConfigureAwait(false);
            try
            {
                return new Disk(name ?? Storage.NameOf(fullPath), fullPath, opened, isShared, storage, files.OutsideNote);
            }
            catch
            {
                await opened.Node.DisposeAsync().ConfigureAwait(false);
                throw;
            }
        }
        catch when (storage.Failure is not null)
        {
            DiskBitmaps.Distrust(fullPath, storage.Failure);
            throw;
        }
    }

    /// <summary>The session of that name, or null.</summary>
    public Session? FindSession(string name) =>
        Array.Find(_sessions, session => string.Equals(session.Name, name, StringComparison.OrdinalIgnoreCase));

    /// <summary>Stops all sessions, flushes and closes the image. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        // A session that starts meanwhile is stopped too; under the lock none can start, and later ones find the device closed.
        await LockChainAsync(CancellationToken.None).ConfigureAwait(false);
        while (_sessions is [Session session, ..])
        {
            UnlockChain();
            await session.StopAsync().ConfigureAwait(false);
            await LockChainAsync(CancellationToken.None).ConfigureAwait(false);
        }

        try
        {
            await CloseImageAsync().ConfigureAwait(false);
        }
        finally
        {
            UnlockChain();
        }
    }

    /// <summary>
    /// Name of the disk; so a disk object is accepted wherever its name is. A closed one says so, and can't be taken for
    /// another disk that has its name now.
    /// </summary>
    public override string ToString() => Volatile.Read(ref _isClosed) ? $"{Name} (dismounted)" : Name;

    private async ValueTask CloseImageAsync()
    {
        if (_isClosed)
        {
            return;
        }

        _isClosed = true;
        await _leftCopies.ConfigureAwait(false);
        bool isFlushed = IsReadOnly;
        try
        {
            if (!IsReadOnly)
            {
                await Device.FlushAsync().ConfigureAwait(false);
                isFlushed = true;
            }
        }
        finally
        {
            await Device.DisposeAsync().ConfigureAwait(false);
            await CloseStorageAsync(isFlushed).ConfigureAwait(false);
        }
    }

    // The bitmaps go into the image while it is open, and the sidecar describes the image when nothing changes it any more.
    // What fails on the way leaves a sidecar that still says "in use".
    private async ValueTask CloseStorageAsync(bool isFlushed)
    {
        try
        {
            try
            {
                Bitmaps.SaveToImage();
            }
            finally
            {
                await _image.DisposeAsync().ConfigureAwait(false);
            }

            if (isFlushed)
            {
                Bitmaps.Seal();
            }
        }
        finally
        {
            Bitmaps.Abandon();
        }
    }

    /// <summary>Which image of the disk's chain stores the run at an offset. No filter is asked: they store nothing of the disk.</summary>
    internal ValueTask<DepthRun> FindDepthAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        Device.AskAsync(
            offsetBytes,
            lengthBytes,
            (atBytes, forBytes) => AllocationDepth.FindAsync(_image, Format, atBytes, forBytes, cancellationToken),
            cancellationToken);

    internal void CheckOpen()
    {
        if (_isClosed)
        {
            throw new BlockException(BlockErrorKind.Closed, $"'{Name}' has been dismounted.", Path);
        }
    }

    /// <summary>Refuses work that a disk must not begin whose storage has lost writes.</summary>
    internal void CheckStorage()
    {
        if (_storage.Failure is { } failure)
        {
            throw new BlockException(
                failure.Kind,
                $"The disk '{Name}' has failed, and what it shows may not be what its storage has. {failure.Message} Dismount the disk, " +
                "check the storage and the image, and mount it again.",
                Path,
                operation: failure.Operation,
                cause: failure);
        }
    }

    internal Task LockChainAsync(CancellationToken cancellationToken) => _chainLock.WaitAsync(cancellationToken);

    internal void UnlockChain() => _chainLock.Release();

    /// <summary>Puts a session's filter over the others. The chain is locked and the device quiesced.</summary>
    internal void Push(Session session)
    {
        Tracking.Below = session.Point.Filter;
        _sessions = [.. _sessions, session];
        if (_storage.Failure is { } failure)
        {
            // It came after the session was prepared, maybe before the session was in the list.
            session.Point.Break(failure);
        }
    }

    // Of lost writes a snapshot may show the old bytes or the new ones.
    private void OnFlushFailed(BlockException failure)
    {
        Bitmaps.Distrust(failure);
        foreach (Session session in _sessions)
        {
            session.Point.Break(failure);
        }
    }

    /// <summary>Takes a session's filter out, wherever it stands. The chain is locked and the device quiesced.</summary>
    internal void Unlink(Session session)
    {
        Session[] sessions = _sessions;
        int index = Array.IndexOf(sessions, session);
        Invariant.Require(index >= 0, "R6", "a session's filter is in its disk's chain until it stops");
        if (index == sessions.Length - 1)
        {
            Tracking.Below = session.Point.Filter.Active;
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
}
