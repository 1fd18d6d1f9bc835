// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;
using Fleece.Disks.Storage;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Tls;

namespace Fleece.Disks.Temp;

/// <summary>The image that receives old data.</summary>
/// <remarks>
/// No session survives the end of the system but in order, so the image's format makes nothing durable while the session runs: else a
/// guest's write would now and then wait for a flush of all that was copied before it. <see cref="LeaveAsync"/> makes all of it durable at
/// once. Ownership. It owns the node; a file that it created is deleted when it is disposed.
/// </remarks>
internal sealed class TempImage : IAsyncDisposable
{
    // A fresh temp answers in one or a few runs; one with this many holds data.
    private const int MaximumStatusRuns = 4096;

    // Where a file that is made as litter comes to lie; null for one that has its name.
    private string? _finalPath;

    // The blocks that the storage takes at once; the node may take less, at the price of reading first.
    private readonly int _blockBytes;

    private TempImage(IBlockNode node, string path, bool isOurs, bool readsAsZero, ImageFormat? format, int blockBytes = 1)
    {
        _blockBytes = blockBytes;
        Node = node;
        Path = path;
        ReadsAsZero = readsAsZero;
        IsOurs = isOurs;
        Format = format;
    }

    public IBlockNode Node { get; }

    /// <summary>Full path of the file, or the export's URI.</summary>
    public string Path { get; private set; }

    /// <summary>Hears why the old data can't be read any more: the system could not store it. On any thread, and before the request that
    /// finds it fails.</summary>
    public Action<BlockException>? Lost
    {
        set
        {
            if (Node is WatchedTemp watched)
            {
                watched.Lost = value;
            }
        }
    }

    /// <summary>Hears of each change of the image before it is made. Before the first request.</summary>
    public IChangeWitness? Witness
    {
        set
        {
            if (Node is WatchedTemp watched)
            {
                watched.Witness = value;
            }
        }
    }

    /// <summary>True for a file that the session made, and that ends with it.</summary>
    public bool IsOurs { get; }

    /// <summary>The image's format; null for an export.</summary>
    public ImageFormat? Format { get; }

    /// <summary>Why no later process can go on with it, as a sentence; null when one can.</summary>
    public string? KeepFault { get; private init; }

    /// <summary>How old data is written, so that a killed process leaves what it has noted: the tables of an image must lead
    /// there.</summary>
    public WriteFlags KeptWriteFlags => Format is null or ImageFormat.Raw ? WriteFlags.None : WriteFlags.ForceUnitAccess;

    /// <summary>True when all of it reads as zeros before the session starts.</summary>
    public bool ReadsAsZero { get; private set; }

    /// <summary>Asks whether the system has failed to store something of the image, which <see cref="Lost"/> then hears. Without a read:
    /// the system forgets it when no process has the file open and its memory is needed.</summary>
    public void FindLoss() => _ = (Node as WatchedTemp)?.FindLoss();

    /// <summary>The granule of a session: what was asked for, or the default, grown to what the disk and temp take at once.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: what was asked for is smaller than that.</exception>
    public int GranuleSizeFor(DiskStorage disk, int? askedBytes)
    {
        int blockBytes = Math.Max(disk.Image.Geometry.RequestAlignmentBytes, _blockBytes);
        if (askedBytes >= blockBytes || blockBytes == 1)
        {
            return askedBytes ?? PointInTime.DefaultGranuleSizeBytes;
        }

        return askedBytes is null
            ? Math.Max(PointInTime.DefaultGranuleSizeBytes, blockBytes)
            : throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The granule of {askedBytes} bytes is smaller than the {blockBytes} bytes that " +
                $"'{(blockBytes == _blockBytes ? Path : disk.Path)}' takes at once. Choose a larger one, or leave the size out.",
                disk.Path);
    }

    public static async ValueTask<TempImage> OpenAsync(
        DiskStorage disk,
        string sessionName,
        string? tempPath,
        TlsClientOptions? tls,
        Action<string>? checkPlace,
        bool mayBeKept,
        CancellationToken cancellationToken)
    {
        if (NbdUri.IsUri(tempPath))
        {
            return await ConnectAsync(disk, NbdUri.Parse(tempPath), tls, cancellationToken).ConfigureAwait(false);
        }

        string path = System.IO.Path.GetFullPath(tempPath ?? FolderOf(disk));
        if (Directory.Exists(path))
        {
            _ = TempFiles.Clear(path, disk);
            path = TempFiles.NewFile(path, disk, sessionName);
            TempFiles.CheckFreeSpace(path);

            // Locked and private from its first instant on, so that a process that clears away temp files sees that it is in use.
            LocalFile file = LocalFile.Create(path, disk.SizeBytes, deleteOnDispose: true);
            try
            {
                checkPlace?.Invoke(file.Place);
                WatchedTemp raw = WatchedTemp.Over(FileNode.Over(file), [LossWatch.Open(file)]);
                return new TempImage(raw, path, isOurs: true, readsAsZero: true, ImageFormat.Raw);
            }
            catch
            {
                file.Dispose();
                throw;
            }
        }

        bool isOurs = !File.Exists(path);
        ImageFormat? format = isOurs ? Image.FormatForNewFile(path, ImageParameters.None) : null;
        string? finalPath = null;
        if (isOurs)
        {
            TempFiles.CheckFreeSpace(path);
            if (mayBeKept && Directory.Exists(System.IO.Path.GetDirectoryName(path)))
            {
                // Litter until a log names it: a process that is killed before leaves nothing that looks like the user's own image.
                _ = TempFiles.Clear(System.IO.Path.GetDirectoryName(path)!, disk);
                finalPath = path;
                path = TempFiles.NewFile(System.IO.Path.GetDirectoryName(path)!, disk, sessionName);
            }

            await Image
                .CreateAsync(
                    path, new ImageCreateOptions { Format = format!.Value, SizeBytes = disk.SizeBytes }, cancellationToken)
                .ConfigureAwait(false);
            TempFiles.KeepPrivate(path);
        }
        else
        {
            CheckIsNotDisk(path, disk);
        }

        IBlockNode? node = null;
        try
        {
            (TempImage temp, node) = await OpenFileAsync(path, format, isOurs, checkPlace, cancellationToken).ConfigureAwait(false);
            temp.ReadsAsZero = await ReadsAsZeroAsync(node, cancellationToken).ConfigureAwait(false);
            temp._finalPath = finalPath;
            return temp;
        }
        catch
        {
            if (node is not null)
            {
                await node.DisposeAsync().ConfigureAwait(false);
            }

            if (isOurs)
            {
                FileNames.Delete(path);
            }

            throw;
        }
    }

    /// <summary>Opens the image of a session that an earlier process began.</summary>
    /// <param name="path">Its file.</param>
    /// <param name="format">Its format.</param>
    /// <param name="isOurs">As <see cref="IsOurs"/>.</param>
    /// <param name="readsAsZero">As <see cref="ReadsAsZero"/>: what it was when the session began.</param>
    /// <param name="checkPlace">Judges each file; null for no judge.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException">Why it can't be opened; it is left as it is.</exception>
    public static async ValueTask<TempImage> ReopenAsync(
        string path,
        ImageFormat format,
        bool isOurs,
        bool readsAsZero,
        Action<string>? checkPlace,
        CancellationToken cancellationToken)
    {
        (TempImage temp, IBlockNode node) = await OpenFileAsync(path, format, isOurs, checkPlace, cancellationToken)
            .ConfigureAwait(false);
        try
        {
            // Linux tells a failure that no process has heard of to the next one that opens the file.
            (node as WatchedTemp)?.ThrowIfLost();
        }
        catch
        {
            await node.DisposeAsync().ConfigureAwait(false);
            throw;
        }

        temp.ReadsAsZero = readsAsZero;
        return temp;
    }

    /// <summary>The name that a file of ours gets when it is kept: no mount takes it for litter then. One of the user's own has its name
    /// already.</summary>
    /// <param name="logId">The id of the log that is to name it.</param>
    public string NameToKeep(Guid logId) => IsOurs ? TempFiles.KeptName(_finalPath ?? Path, logId) : Path;

    /// <summary>Gives a file of ours the name of <see cref="NameToKeep"/>. A log that names it so is there.</summary>
    public void Keep(Guid logId) => Rename(NameToKeep(logId));

    /// <summary>Gives a file of ours the name that the user has asked for, where no later process goes on with it.</summary>
    public void TakeName() => Rename(_finalPath ?? Path);

    /// <summary>Closes the image and makes it durable, for a process that goes on with it. Nothing is deleted.</summary>
    /// <exception cref="BlockException">Why it is not durable, or what it has lost. It is closed.</exception>
    public async ValueTask LeaveAsync()
    {
        try
        {
            // The flush below hears of a failure that no process was told of.
            (Node as WatchedTemp)?.ThrowIfLost();
        }
        finally
        {
            await Node.DisposeAsync().ConfigureAwait(false);
        }

        FileNames.FlushClosed(Path);
    }

    public async ValueTask DisposeAsync()
    {
        if (!IsOurs)
        {
            await Node.DisposeAsync().ConfigureAwait(false);
            return;
        }

        await Image.AbandonAsync(Node).ConfigureAwait(false);
        FileNames.Delete(Path);
    }

    private void Rename(string path)
    {
        if (path != Path)
        {
            FileNames.Move(Path, path, overwrite: false);
            Path = path;
            if (Node is WatchedTemp watched)
            {
                watched.Path = path;
            }
        }
    }

    // A transient image: closing it writes its tables, and nothing is flushed.
    private static async ValueTask<(TempImage Temp, IBlockNode Node)> OpenFileAsync(
        string path, ImageFormat? format, bool isOurs, Action<string>? checkPlace, CancellationToken cancellationToken)
    {
        List<LossWatch> watches = [];
        ImageOpenOptions opening = new()
        {
            Format = format,
            IsTransient = true,
            Parameters = ImageParameters.None,
            CheckPlace = checkPlace,
            Watches = watches,
        };
        try
        {
            (IBlockNode image, ImageFormat found) = await Image.OpenAsync(path, opening, cancellationToken).ConfigureAwait(false);
            WatchedTemp node = WatchedTemp.Over(image, watches);
            TempImage temp = new(node, path, isOurs, readsAsZero: false, found)
            {
                KeepFault = watches.Count == 1 ? null : $"The temp image '{path}' keeps data in other files too.",
            };
            return (temp, node);
        }
        catch
        {
            watches.ForEach(watch => watch.Dispose());
            throw;
        }
    }

    // A server that was lost may have lost copies too that it had not made durable, and a snapshot without them would be wrong.
    // So the connection is not made again: the session breaks, or refuses guest writes, as its policy says.
    private static async ValueTask<TempImage> ConnectAsync(
        DiskStorage disk, NbdUri uri, TlsClientOptions? tls, CancellationToken cancellationToken)
    {
        if (disk.IsExport && ExportPlace.Of(NbdUri.Parse(disk.Path)) == ExportPlace.Of(uri))
        {
            throw TempIsDisk(disk.Path);
        }

        NbdNodeOptions options = new() { Tls = tls, ReconnectTimeout = TimeSpan.Zero };
        NbdNode node = await StorageAddress
            .ConnectToOverwriteAsync(
                uri,
                options,
                $"temp of the disk '{disk.Name}'",
                "Name another one with -TempPath.",
                cancellationToken).ConfigureAwait(false);
        try
        {
            CheckHoldsData(node, disk);
            bool readsAsZero = await ReadsAsZeroAsync(node, cancellationToken).ConfigureAwait(false);
            int blockBytes = node.Geometry.RequestAlignmentBytes;

            // Granules are whole blocks, but for the last one of a disk that ends within a block.
            IBlockNode temp = disk.SizeBytes % blockBytes == 0 ? DiskSectors.Over(node) : ByteGranularNode.Over(node);
            return new TempImage(temp, uri.ToString(), isOurs: false, readsAsZero, format: null, blockBytes)
            {
                KeepFault = $"Old data goes to the export '{uri}', which ends with the connection.",
            };
        }
        catch
        {
            await node.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    // A server has no room behind the end of its export, so the old data of a disk's last sector would find none there.
    private static void CheckHoldsData(NbdNode node, DiskStorage disk)
    {
        long lengthBytes = node.Geometry.LengthBytes;
        if (lengthBytes < disk.DataEndBytes)
        {
            throw new BlockException(
                BlockErrors.TempTooSmall,
                $"The temp image '{node.Uri}' has {lengthBytes} bytes and the disk {disk.DataEndBytes}; temp must be at least as " +
                "large. It is filled only as far as the guest overwrites data.",
                disk.Path);
        }
    }

    private static string FolderOf(DiskStorage disk) => disk.IsExport
        ? throw new BlockException(
            BlockErrors.InvalidArgument,
            $"The disk '{disk.Name}' lies on a server, so there is no folder beside it for old data. Name one, or an image, with " +
            "-TempPath.",
            disk.Path)
        : System.IO.Path.GetDirectoryName(disk.Path)!;

    private static void CheckIsNotDisk(string path, DiskStorage disk)
    {
        if (!disk.IsExport && ResolveLinks(path) == ResolveLinks(disk.Path))
        {
            throw TempIsDisk(path);
        }
    }

    private static BlockException TempIsDisk(string path) => new(
        DiskErrors.TempIsDisk, $"The temp image '{path}' is the disk itself. Name another file with -TempPath.", path);

    private static string ResolveLinks(string path) =>
        File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path;

    private static async ValueTask<bool> ReadsAsZeroAsync(IBlockNode node, CancellationToken cancellationToken)
    {
        long lengthBytes = node.Geometry.LengthBytes;
        long atBytes = 0;
        for (int runs = 0; atBytes < lengthBytes && runs < MaximumStatusRuns; runs++)
        {
            BlockStatusRun run = await node.GetStatusAsync(atBytes, lengthBytes - atBytes, cancellationToken)
                .ConfigureAwait(false);
            if (!run.ReadsAsZero)
            {
                return false;
            }

            atBytes += run.LengthBytes;
        }

        return atBytes == lengthBytes;
    }
}
