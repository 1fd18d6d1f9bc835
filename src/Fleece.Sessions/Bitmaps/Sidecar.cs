// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;

namespace Fleece.Sessions.Bitmaps;

/// <summary>The file beside an image that keeps its bitmaps, and keeps up with them while guests write.</summary>
/// <remarks>
/// <para>A new bit is written to the file before the guest's write goes to the image. No flush is needed for that: what a killed
/// process wrote stays in the system's memory. Directories are written in turns to two places, so that a half-written one never
/// counts. docs/bitmaps.md has the layout.</para>
/// <para>When the file can't be written any more, it is made unusable and journaling ends; the bitmaps go on in memory, and
/// <see cref="Failure"/> says why. Guests notice nothing.</para>
/// <para>Threading. <see cref="IBitmapJournal"/> and <see cref="IChangeWitness"/> from any thread; the rest under the disk's chain
/// lock.</para>
/// </remarks>
internal sealed class Sidecar : IChangeWitness, IDisposable
{
    public const string Extension = ".fleece-bitmaps";

    /// <summary>While guests write, the file is written at least this often: its time of modification follows the image's.</summary>
    public static readonly TimeSpan WitnessInterval = TimeSpan.FromSeconds(1);

    /// <summary>How much later than the sidecar an image may have changed at the end of a killed process: the interval, and what a
    /// guest's write may be held up between the witness and the image.</summary>
    public static readonly TimeSpan WitnessTolerance = TimeSpan.FromSeconds(5);

    private const long DataStartBytes = 2 * SidecarDirectory.MaximumBytes;
    private const int AreaAlignmentBytes = 4096;

    private LocalFile _file;
    private volatile bool _isClosed;
    private readonly Lock _writing = new();
    private readonly List<BlockRange> _areas = [];
    private SidecarDirectory _directory;
    private BlockException? _failure;
    private long _witnessDueMilliseconds;

    private Sidecar(LocalFile file, SidecarDirectory directory)
    {
        Path = file.Path;
        _file = file;
        _directory = directory;
    }

    public string Path { get; private set; }

    /// <summary>What the file says now.</summary>
    public SidecarDirectory Directory => _directory;

    /// <summary>Why the file is not written any more; null while it is.</summary>
    public BlockException? Failure => Volatile.Read(ref _failure);

    /// <summary>Where the bitmaps of an image are kept, whichever link leads to it.</summary>
    public static string PathFor(string imagePath) =>
        (File.ResolveLinkTarget(imagePath, returnFinalTarget: true)?.FullName ?? imagePath) + Extension;

    /// <summary>Makes the file of an image that has none.</summary>
    public static Sidecar Create(string imagePath, SidecarDirectory directory) => CreateAt(PathFor(imagePath), imagePath, directory);

    /// <summary>Makes a file that is to take the place of the image's.</summary>
    public static Sidecar CreateBeside(string imagePath, SidecarDirectory directory)
    {
        string path = $"{PathFor(imagePath)}.new";
        FileNames.Delete(path);
        return CreateAt(path, imagePath, directory);
    }

    /// <summary>Gives the file the name of the one that counts, in one step. Before anything is recorded.</summary>
    public void TakePlace(string path)
    {
        // Closed, because Windows renames no open file. Nothing is lost when it ends here: the disk has taken no request yet.
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
        catch
        {
            sidecar.Delete();
            throw;
        }
    }

    /// <summary>Opens the file of an image; null when it has none.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BitmapStoreUnusable"/></exception>
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
                return new Sidecar(file, ReadDirectory(file) ?? throw Damaged(path));
            }
            catch
            {
                file.Dispose();
                throw;
            }
        }
        catch (BlockException e) when (e.Kind != BlockErrorKind.BitmapStoreUnusable)
        {
            throw new BlockException(
                BlockErrorKind.BitmapStoreUnusable, $"The disk's bitmaps can't be opened. {e.Message}", path, operation: "open", cause: e);
        }
    }

    /// <summary>Writes another directory; the old one counts until that has happened.</summary>
    /// <exception cref="BlockException">Why it can't be written; the old directory still counts then.</exception>
    public void Write(SidecarDirectory directory)
    {
        lock (_writing)
        {
            if (_failure is not null)
            {
                throw _failure;
            }

            directory = directory with { Sequence = _directory.Sequence + 1 };
            _file.Write((directory.Sequence & 1) * SidecarDirectory.MaximumBytes, directory.Encode());
            _directory = directory;
        }
    }

    /// <summary>Makes everything durable.</summary>
    public void Flush() => _file.Flush();

    /// <summary>Reserves room that reads as zeros for the bits of a bitmap.</summary>
    public SidecarArea TakeArea(long lengthBytes)
    {
        long alignedBytes = (lengthBytes + AreaAlignmentBytes - 1) & -AreaAlignmentBytes;
        long atBytes = DataStartBytes;
        _areas.Sort(static (left, right) => left.OffsetBytes.CompareTo(right.OffsetBytes));
        foreach (BlockRange area in _areas)
        {
            if (area.OffsetBytes - atBytes >= alignedBytes)
            {
                break;
            }

            atBytes = area.EndBytes;
        }

        BlockRange taken = new(atBytes, alignedBytes);
        if (_file.LengthBytes < taken.EndBytes)
        {
            _file.SetLength(taken.EndBytes);
        }

        _file.WriteZeroes(taken);
        _areas.Add(taken);
        return new SidecarArea(this, taken);
    }

    /// <summary>The room of a bitmap that the directory names; null when it does not lie in the file, or on another's.</summary>
    public SidecarArea? FindArea(long offsetBytes, long lengthBytes)
    {
        long alignedBytes = (lengthBytes + AreaAlignmentBytes - 1) & -AreaAlignmentBytes;
        if (offsetBytes < DataStartBytes || offsetBytes % AreaAlignmentBytes != 0 || offsetBytes > _file.LengthBytes - alignedBytes)
        {
            return null;
        }

        BlockRange area = new(offsetBytes, alignedBytes);
        if (_areas.Exists(area.Overlaps))
        {
            return null;
        }

        _areas.Add(area);
        return new SidecarArea(this, area);
    }

    /// <summary>Gives room back. The directory on disk names it no more, and no change is in flight.</summary>
    public void FreeArea(SidecarArea area)
    {
        area.Close();
        _areas.Remove(area.Range);
        try
        {
            _file.WriteZeroes(area.Range);
        }
        catch (BlockException)
        {
            // Whoever takes the room next zeroes it first, and reports why it can't.
        }
    }

    /// <summary>Closes the file and removes it.</summary>
    public void Delete()
    {
        Dispose();
        FileNames.Delete(Path);
    }

    /// <inheritdoc/>
    public void BeforeChange()
    {
        long now = Environment.TickCount64;
        if (now >= Volatile.Read(ref _witnessDueMilliseconds))
        {
            Witness(now);
        }
    }

    /// <summary>Closes the file as it is; nothing reaches it any more.</summary>
    public void Dispose()
    {
        _isClosed = true;
        _file.Dispose();
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

    internal void Load(BlockRange area, DirtyBitmap bitmap)
    {
        byte[] buffer = new byte[SidecarDirectory.MaximumBytes];
        long endBytes = area.OffsetBytes + bitmap.LengthInBytes;
        for (long atBytes = area.OffsetBytes; atBytes < endBytes;)
        {
            BlockStatusRun run = _file.FindExtent(BlockRange.FromEnds(atBytes, endBytes));
            long pieceBytes = Math.Min(run.LengthBytes, run.Status == BlockStatus.Data ? buffer.Length : long.MaxValue);
            if (run.Status == BlockStatus.Data)
            {
                Span<byte> piece = buffer.AsSpan(0, (int)pieceBytes);
                _file.Read(atBytes, piece);
                bitmap.Load(atBytes - area.OffsetBytes, piece);
            }

            atBytes += pieceBytes;
        }
    }

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
                Write(_directory with { Entries = [.. _directory.Entries.Select(entry => entry with { Fault = fault })] });
            }
            catch (BlockException)
            {
                // A missing file says the same, and so does one without a directory.
                TryRemove();
            }

            Volatile.Write(ref _failure, cause);
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

    private void Witness(long now)
    {
        Volatile.Write(ref _witnessDueMilliseconds, now + (long)WitnessInterval.TotalMilliseconds);

        // Any write sets the file's time; these bytes lie behind the longest directory and mean nothing.
        Store(DataStartBytes - sizeof(long), BitConverter.GetBytes(now));
    }

    private static SidecarDirectory? ReadDirectory(LocalFile file)
    {
        byte[] bytes = new byte[2 * SidecarDirectory.MaximumBytes];
        int readBytes = file.ReadUpTo(0, bytes);
        ReadOnlySpan<byte> first = bytes.AsSpan(0, Math.Min(readBytes, SidecarDirectory.MaximumBytes));
        ReadOnlySpan<byte> second = bytes.AsSpan(first.Length, readBytes - first.Length);
        SidecarDirectory? even = SidecarDirectory.Decode(first);
        SidecarDirectory? odd = SidecarDirectory.Decode(second);
        return odd is null || even?.Sequence > odd.Sequence ? even : odd;
    }

    private static BlockException Damaged(string path) => new(
        BlockErrorKind.BitmapStoreUnusable,
        $"'{path}' is no file of bitmaps, or a damaged one. Dismount the disk, delete the file and mount the disk again; its bitmaps " +
        "are lost, so the next backup must be a full one.",
        path,
        operation: "open");
}

/// <summary>The room of one bitmap in the sidecar.</summary>
/// <remarks>Threading. As its interface says; <see cref="Close"/> only when no change is in flight.</remarks>
internal sealed class SidecarArea(Sidecar sidecar, BlockRange range) : IBitmapJournal
{
    private volatile bool _isClosed;

    public BlockRange Range => range;

    /// <inheritdoc/>
    public void Store(long firstByte, ReadOnlySpan<byte> bytes)
    {
        Invariant.Require(firstByte + bytes.Length <= range.LengthBytes, "R5", "a bitmap's bits stay within their area");
        if (!_isClosed)
        {
            sidecar.Store(range.OffsetBytes + firstByte, bytes);
        }
    }

    /// <summary>Sets the bits that the area holds.</summary>
    public void Load(DirtyBitmap bitmap) => sidecar.Load(range, bitmap);

    /// <summary>Keeps nothing more: the room goes to somebody else.</summary>
    public void Close() => _isClosed = true;
}
