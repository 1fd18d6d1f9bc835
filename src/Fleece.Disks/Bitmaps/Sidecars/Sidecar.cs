// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.Disks.Bitmaps.Sidecars;

/// <summary>The file beside an image that keeps its bitmaps, and keeps up with them while guests write.</summary>
/// <remarks>
/// <para>A new bit is written to the file before the guest's write goes to the image. No flush is needed for that: what a killed
/// process wrote stays in the system's memory. The directory is kept twice and the copies are written one after the other, so that neither
/// a half-written one nor a damaged one counts. docs/bitmaps.md has the layout.</para>
/// <para>When the file can't be written any more, it is made unusable and journaling ends; the bitmaps go on in memory, and
/// <see cref="Failure"/> says why. Guests notice nothing.</para>
/// <para>Threading. <see cref="IBitmapJournal"/> and <see cref="Touch"/> from any thread; the rest under the disk's chain lock.</para>
/// </remarks>
internal sealed class Sidecar : IDisposable
{
    public const string Extension = ".fleece-bitmaps";

    private const string NewExtension = ".new";

    /// <summary>Where the areas begin.</summary>
    public const long DataStartBytes = 2 * SidecarDirectory.MaximumBytes;

    /// <summary>Where the stamp lies, behind the longest directory.</summary>
    internal const long StampOffsetBytes = DataStartBytes - ImageStamp.HeaderBytes;

    private LocalFile _file;
    private volatile bool _isClosed;
    private readonly Lock _writing = new();
    private readonly Lock _touching = new();
    private SidecarDirectory _directory;
    private BlockException? _failure;

    private Sidecar(LocalFile file, SidecarDirectory directory)
    {
        Path = file.Path;
        _file = file;
        _directory = directory;
        Areas = new SidecarAreas(this);
    }

    public string Path { get; private set; }

    /// <summary>Where each bitmap's bits are.</summary>
    public SidecarAreas Areas { get; }

    /// <summary>What the file says now.</summary>
    public SidecarDirectory Directory => _directory;

    /// <summary>Why the file is not written any more; null while it is.</summary>
    public BlockException? Failure => Volatile.Read(ref _failure);

    /// <summary>Where the bitmaps of an image are kept, whichever link leads to it.</summary>
    /// <remarks>Of an image that can't be looked at, because its folder is gone for one, the path as it is.</remarks>
    public static string PathFor(string imagePath) => FileNames.Beside(imagePath, Extension);

    /// <summary>Makes a file that is to take the place of the image's, or of none.</summary>
    public static Sidecar CreateBeside(string imagePath, SidecarDirectory directory)
    {
        string path = $"{PathFor(imagePath)}{NewExtension}";
        try
        {
            FileNames.Delete(path);
            return CreateAt(path, imagePath, directory);
        }
        catch (BlockException e) when (
            e.InnerException is PathTooLongException || System.IO.Path.GetFileName(path).Length > FileNames.MaximumBytes)
        {
            throw new BlockException(
                DiskErrors.BitmapStoreUnusable,
                $"The disk's bitmaps can't be kept, because the name of the image '{imagePath}' is too long for a file beside it that is " +
                $"named after it, with '{Extension}{NewExtension}' at the end. Rename the image: most file systems take names of " +
                $"{FileNames.MaximumBytes} bytes, so {FileNames.MaximumBytes - Extension.Length - NewExtension.Length} are left for it.",
                path,
                operation: "create",
                cause: e);
        }
    }

    /// <summary>Gives the file of <see cref="CreateBeside"/> the name of the one that counts, in one step. Before anything is recorded.
    /// </summary>
    public void TakePlace()
    {
        string path = Path[..^NewExtension.Length];
        // Closed, because Windows renames no open file. Nothing is lost when it ends here: nothing has been recorded in it yet.
        _file.Dispose();
        FileNames.Move(Path, path, overwrite: true);
        Path = path;
        _file = LocalFile.Open(path, isReadOnly: false);
    }

    private static Sidecar CreateAt(string path, string imagePath, SidecarDirectory directory)
    {
        LocalFile file = LocalFile.Create(path, 0);
        Sidecar sidecar = new(file, directory);
        try
        {
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(file.Path, File.GetUnixFileMode(imagePath));
            }

            sidecar.Write(directory);
            sidecar.Flush();
            return sidecar;
        }
        catch (Exception e)
        {
            sidecar.Delete();
            if (!FileErrors.IsFromSystem(e))
            {
                throw;
            }

            throw FileErrors.From(e, imagePath, "read the permissions of");
        }
    }

    /// <summary>Opens the file of an image; null when it has none.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapStoreUnusable"/></exception>
    public static Sidecar? Open(string imagePath, bool isReadOnly)
    {
        string path = PathFor(imagePath);
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            LocalFile file = LocalFile.Open(path, isReadOnly);
            try
            {
                return new Sidecar(file, SidecarDirectory.Read(file));
            }
            catch
            {
                file.Dispose();
                throw;
            }
        }
        catch (BlockException e) when (e.Kind != DiskErrors.BitmapStoreUnusable)
        {
            throw new BlockException(
                DiskErrors.BitmapStoreUnusable, $"The disk's bitmaps can't be opened. {e.Message}", path, operation: "open", cause: e);
        }
    }

    /// <summary>True when the file of an image can't be read, or says that the process which recorded in it has not closed the image.
    /// </summary>
    public static bool IsInUse(string imagePath)
    {
        try
        {
            using Sidecar? sidecar = Open(imagePath, isReadOnly: true);
            return sidecar is { Directory.IsInUse: true };
        }
        catch (BlockException)
        {
            return true;
        }
    }

    /// <summary>As <see cref="Distrust(BlockException, string?)"/>, for an image whose file is not open; nothing where it has none.
    /// </summary>
    public static void Distrust(string imagePath, BlockException cause, string? fault = null)
    {
        try
        {
            using Sidecar? sidecar = Open(imagePath, isReadOnly: false);
            sidecar?.Distrust(cause, fault);
        }
        catch (BlockException)
        {
            // A file that can't be opened for writing is judged by its times, and the cause matters more.
        }
    }

    /// <summary>Has the file of an image, where it holds, say that this process changes the image from here on: a mount that is killed
    /// before its own file is in place leaves one that still holds.</summary>
    /// <param name="imagePath">The image, which is locked and not changed yet.</param>
    /// <param name="image">How it was found.</param>
    /// <returns>True when it says so now, and its time is to follow the image's.</returns>
    /// <remarks>A file that was sealed keeps its digests, for its bits do not change any more. One without pending successors stays sealed,
    /// because an image that keeps bitmaps itself then has them too, and the seal is what tells which of both counts.</remarks>
    public static bool Claim(string imagePath, FileEvidence image)
    {
        try
        {
            using Sidecar? sidecar = Open(imagePath, isReadOnly: false);
            if (sidecar is not { Directory: { } directory } || SidecarTrust.FindFault(
                directory, image, FileEvidence.Read(sidecar.Path), sidecar.ReadStamp(), directory.DiskLengthBytes, null) is not null)
            {
                return false;
            }

            if (!directory.IsInUse && !directory.Entries.Any(entry => entry.IsPending))
            {
                return false;
            }

            if (!directory.IsInUse)
            {
                sidecar.Write(directory with { IsInUse = true, BootId = BootId.Current });
            }

            sidecar.Touch(imagePath: null, image.ModifiedTicks);
            return true;
        }
        catch (BlockException)
        {
            // The mount reads it next, and says what is wrong.
            return false;
        }
    }

    /// <summary>Makes the file unusable, because its content is or is about to become wrong and no other takes its place.</summary>
    /// <remarks>Durably, for storage that lost other writes may lose this one with the next unmount. A missing file says the same.
    /// </remarks>
    /// <param name="cause">Why.</param>
    /// <param name="fault">As for <see cref="Fail"/>.</param>
    public void Distrust(BlockException cause, string? fault = null)
    {
        Fail(cause, fault);
        try
        {
            Flush();
        }
        catch (BlockException)
        {
            TryDelete(Path);
        }
    }

    /// <summary>Removes a file, durably where the storage allows it; the failure that led here says more than one of this.</summary>
    public static void TryDelete(string path)
    {
        try
        {
            FileNames.DeleteDurably(path);
        }
        catch (BlockException)
        {
            return;
        }
    }

    /// <summary>Writes another directory; the old one counts until that has happened.</summary>
    /// <param name="directory">What it says; its sequence number is set here.</param>
    /// <param name="isDurable">Makes each copy durable before the next is written, so that power loss damages one of them at most.</param>
    /// <exception cref="BlockException">Why it can't be written; the old directory still counts then.</exception>
    public void Write(SidecarDirectory directory, bool isDurable = false)
    {
        lock (_writing)
        {
            if (_failure is not null)
            {
                throw _failure;
            }

            directory = directory with { Sequence = _directory.Sequence + 1 };
            byte[] bytes = directory.Encode();
            WriteCopy(0, bytes, isDurable);
            _directory = directory;
            try
            {
                WriteCopy(1, bytes, isDurable);
            }
            catch (BlockException e)
            {
                // The new one counts, and damage to it would let the old one count again.
                Fail(e);
            }
        }
    }

    /// <summary>Makes everything durable.</summary>
    public void Flush() => _file.Flush();

    /// <summary>Closes the file and removes it.</summary>
    public void Delete()
    {
        Dispose();
        FileNames.Delete(Path);
    }

    /// <summary>Says how the image is now, which sets the file's time of modification: it is to follow the image's.</summary>
    /// <param name="imagePath">The image; null where it is about to change and no stamp follows soon.</param>
    /// <param name="notBeforeTicks">As for <see cref="FileEvidence.WitnessTime"/>.</param>
    public void Touch(string? imagePath, long notBeforeTicks)
    {
        ImageStamp? stamp = imagePath is null ? null : ImageStamp.TryOf(imagePath);
        lock (_touching)
        {
            Store(StampOffsetBytes, stamp?.Encode() ?? new byte[ImageStamp.HeaderBytes]);
            if (notBeforeTicks > DateTime.UtcNow.Ticks && !_isClosed)
            {
                FileNames.TryTouch(Path, notBeforeTicks);
            }
        }
    }

    /// <summary>How the process that recorded in it last found the image; null where it does not say so.</summary>
    public ImageStamp? ReadStamp()
    {
        byte[] bytes = new byte[ImageStamp.HeaderBytes];
        return ImageStamp.Decode(bytes.AsSpan(0, _file.ReadUpTo(StampOffsetBytes, bytes)));
    }

    /// <summary>Closes the file as it is; nothing reaches it any more.</summary>
    public void Dispose()
    {
        lock (_touching)
        {
            _isClosed = true;
            _file.Dispose();
        }
    }

    internal void Store(long offsetBytes, ReadOnlySpan<byte> bytes)
    {
        if (_isClosed || Failure is not null)
        {
            return;
        }

        try
        {
            _file.Write(offsetBytes, bytes);
        }
        catch (BlockException e)
        {
            Fail(e);
        }
    }

    internal void Read(long offsetBytes, Span<byte> bytes) => _file.Read(offsetBytes, bytes);

    internal long LengthBytes => _file.LengthBytes;

    internal void SetLength(long lengthBytes) => _file.SetLength(lengthBytes);

    internal void WriteZeroes(BlockRange range) => _file.WriteZeroes(range);

    /// <summary>Makes the file unusable, because it does not follow the bitmaps any more.</summary>
    /// <param name="cause">Why.</param>
    /// <param name="fault">What the bitmaps' users are told; null for that it could not be kept up to date.</param>
    internal void Fail(BlockException cause, string? fault = null)
    {
        lock (_writing)
        {
            if (_failure is not null)
            {
                return;
            }

            fault ??= $"It could not be kept up to date: {cause.Message}";
            try
            {
                byte[] bytes = (_directory with
                {
                    Sequence = _directory.Sequence + 1,
                    Entries = [.. _directory.Entries.Select(entry => entry with { Fault = fault })],
                }).Encode();
                WriteCopy(0, bytes);
                WriteCopy(1, bytes);
            }
            catch (BlockException)
            {
                // A missing file says the same, and so does one without a directory.
                TryRemove();
            }

            Volatile.Write(ref _failure, cause);
        }
    }

    private void WriteCopy(int copy, byte[] bytes, bool isDurable = false)
    {
        _file.Write(copy * (long)SidecarDirectory.MaximumBytes, bytes);
        if (isDurable)
        {
            _file.Flush();
        }
    }

    private void TryRemove()
    {
        try
        {
            File.Delete(Path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            try
            {
                _file.SetLength(0);
            }
            catch (BlockException)
            {
                // Nothing is left to try: the storage takes no change at all, so neither does the image beside it.
            }
        }
    }
}
