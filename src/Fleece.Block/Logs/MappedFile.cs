// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using System.Numerics;
using System.Runtime.InteropServices;
using Fleece.Block.Files;

namespace Fleece.Block.Logs;

/// <summary>A file that is written by stores to memory, and that a killed process leaves as it was at its last instruction.</summary>
/// <remarks>
/// <para>It grows in segments, whose storage is allocated before they are mapped: a store to a hole of a mapped file kills the process when
/// the file system is full (mmap(2), SIGBUS). Where that is not to be had, as on file systems that write a changed page to a new place, or
/// that have no fallocate, the file is written with pwrite: slower, and with the same promises.</para>
/// <para>A store to a clean page asks the file system first, which may hang with its storage. So stores and reads of the mapping are made
/// by the C library: the thread that waits there holds up no other.</para>
/// <para>A store is in the system's memory when the call returns, and outlives the process; behind <see cref="Flush"/> the system too.
/// </para>
/// <para>Threading. Reading and storing from any thread, growing by one at a time beside them; <see cref="Dispose"/> only when no call
/// runs. Ownership. It owns the file, which is locked as images are.</para>
/// <para>Errors. <see cref="BlockException"/>; a store to a mapped segment has none.</para>
/// </remarks>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly LocalFile _file;
    private readonly int _segmentShift;
    private bool _isMapped;
    private volatile Segment[] _segments = [];
    private long _lengthBytes;

    private MappedFile(LocalFile file, int segmentBytes, bool mayMap)
    {
        Invariant.Require(
            BitOperations.IsPow2(segmentBytes) && segmentBytes % Environment.SystemPageSize == 0,
            "I10", "a segment is a power of two and whole pages");
        _file = file;
        _isMapped = mayMap && MappableFileSystems.Has(file.Handle);
        _segmentShift = BitOperations.Log2((uint)segmentBytes);
        SegmentBytes = segmentBytes;
    }

    /// <summary>The unit in which the file grows, a power of two and a multiple of the system's page.</summary>
    public int SegmentBytes { get; }

    /// <summary>Full path of the file.</summary>
    public string Path => _file.Path;

    /// <summary>The file itself: its identity, its length.</summary>
    public LocalFile File => _file;

    /// <summary>Bytes that can be stored to: whole segments.</summary>
    public long LengthBytes
    {
        get => Volatile.Read(ref _lengthBytes);
        private set => Volatile.Write(ref _lengthBytes, value);
    }

    /// <summary>True when stores go to memory; false when each is a pwrite, which can fail.</summary>
    public bool IsMapped => _isMapped;

    /// <summary>Makes a file of one segment, which its owner alone may read.</summary>
    /// <param name="path">Where; nothing may be there yet.</param>
    /// <param name="segmentBytes">See <see cref="SegmentBytes"/>.</param>
    /// <param name="mayMap">False to write with pwrite on all file systems.</param>
    /// <exception cref="BlockException">As <see cref="LocalFile.Create"/>; no file is left then.</exception>
    public static MappedFile Create(string path, int segmentBytes, bool mayMap = true)
    {
        LocalFile file = LocalFile.Create(path, 0);
        MappedFile made = new(file, segmentBytes, mayMap);
        try
        {
            if (!OperatingSystem.IsWindows())
            {
                System.IO.File.SetUnixFileMode(file.Handle, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }

            made.Grow();
            return made;
        }
        catch
        {
            made.Dispose();
            FileNames.Delete(path);
            throw;
        }
    }

    /// <summary>Opens a file that another process has left. A last segment that was not allocated whole is left out.</summary>
    /// <exception cref="BlockException">As <see cref="LocalFile.Open"/>, and as <see cref="Grow"/> for a file with holes, which copies of
    /// files can have.</exception>
    public static MappedFile Open(string path, int segmentBytes, bool mayMap = true)
    {
        MappedFile opened = new(LocalFile.Open(path, isReadOnly: false), segmentBytes, mayMap);
        try
        {
            long wholeBytes = opened._file.LengthBytes / segmentBytes * segmentBytes;
            while (opened.LengthBytes < wholeBytes)
            {
                opened.Grow();
            }

            return opened;
        }
        catch
        {
            opened.Dispose();
            throw;
        }
    }

    /// <summary>Adds a segment of zeros, or of what the file has there already.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.NoSpace"/>, or why it can't be had. Nothing has changed then.</exception>
    public void Grow()
    {
        long startBytes = LengthBytes;
        Allocate(startBytes);
        if (_isMapped)
        {
            _segments = [.. _segments, new Segment(_file, startBytes, SegmentBytes)];
        }

        LengthBytes = startBytes + SegmentBytes;
    }

    /// <summary>Stores bytes within <see cref="LengthBytes"/>.</summary>
    /// <exception cref="BlockException">Where the file is not mapped: why the system does not take them, or not all.</exception>
    public void Write(long offsetBytes, ReadOnlySpan<byte> bytes)
    {
        if (!_isMapped)
        {
            _file.Write(offsetBytes, bytes);
            return;
        }

        while (!bytes.IsEmpty)
        {
            int count = Math.Min(PlaceBytes(offsetBytes), bytes.Length);
            fixed (byte* source = bytes)
            {
                LibC.Copy(Address(offsetBytes), source, count);
            }

            offsetBytes += count;
            bytes = bytes[count..];
        }
    }

    /// <summary>Stores a number in one step: a killed process leaves the old one or the new one, behind all stores before it.</summary>
    /// <param name="offsetBytes">A multiple of 8.</param>
    /// <param name="number">At most <see cref="SealedWord.Maximum"/>.</param>
    /// <exception cref="BlockException">As <see cref="Write"/>.</exception>
    public void StoreNumber(long offsetBytes, ulong number)
    {
        ulong word = SealedWord.Encode((ulong)offsetBytes, number);
        if (_isMapped)
        {
            ulong stored = BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word);
            Volatile.WriteBarrier();
            LibC.Copy(Address(offsetBytes), (byte*)&stored, sizeof(ulong));
            return;
        }

        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, word);
        _file.Write(offsetBytes, bytes);
    }

    /// <summary>Reads a number that <see cref="StoreNumber"/> has stored; false where there is none, or it is damaged.</summary>
    public bool TryReadNumber(long offsetBytes, out ulong number)
    {
        number = 0;
        if (offsetBytes + sizeof(ulong) > LengthBytes)
        {
            return false;
        }

        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        Read(offsetBytes, bytes);
        return SealedWord.TryDecode((ulong)offsetBytes, BinaryPrimitives.ReadUInt64LittleEndian(bytes), out number);
    }

    /// <summary>Reads bytes within the file.</summary>
    public void Read(long offsetBytes, Span<byte> bytes)
    {
        if (!_isMapped)
        {
            _file.Read(offsetBytes, bytes);
            return;
        }

        while (!bytes.IsEmpty)
        {
            int count = Math.Min(PlaceBytes(offsetBytes), bytes.Length);
            fixed (byte* target = bytes)
            {
                LibC.Copy(target, Address(offsetBytes), count);
            }

            offsetBytes += count;
            bytes = bytes[count..];
        }
    }

    /// <summary>Makes all stores durable.</summary>
    public void Flush()
    {
        foreach (Segment segment in _segments)
        {
            segment.Flush();
        }

        _file.Flush();
    }

    /// <summary>Closes the file as it is.</summary>
    public void Dispose()
    {
        // A call behind this is an error and not a store to memory that belongs to others by then.
        Segment[] segments = _segments;
        _segments = [];
        foreach (Segment segment in segments)
        {
            segment.Dispose();
        }

        _file.Dispose();
    }

    private void Allocate(long startBytes)
    {
        if (_isMapped && TryAllocate(startBytes))
        {
            return;
        }

        // Written, because a length alone promises no room.
        long fileBytes = _file.LengthBytes;
        if (fileBytes < startBytes + SegmentBytes)
        {
            byte[] zeroes = new byte[startBytes + SegmentBytes - Math.Max(fileBytes, startBytes)];
            _file.Write(Math.Max(fileBytes, startBytes), zeroes);
        }
    }

    // ext2 and ext3 have the number of ext4 and no fallocate; the first segment finds out.
    private bool TryAllocate(long startBytes)
    {
        while (LibC.Allocate(_file.Handle, 0, startBytes, SegmentBytes) != 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            if (startBytes == 0 && LibC.IsNotSupported(errno))
            {
                _isMapped = false;
                return false;
            }

            if (errno != LibC.InterruptedErrno)
            {
                throw FileErrors.FromCode(errno, Path, "allocate", startBytes);
            }
        }

        return true;
    }

    // In the segment, from an offset on.
    private int PlaceBytes(long offsetBytes) => SegmentBytes - (int)(offsetBytes & (SegmentBytes - 1));

    private byte* Address(long offsetBytes) => _segments[offsetBytes >> _segmentShift].Start + (offsetBytes & (SegmentBytes - 1));

    private sealed class Segment : IDisposable
    {
        private readonly MemoryMappedFile _mapping;
        private readonly MemoryMappedViewAccessor _view;

        public Segment(LocalFile file, long startBytes, int lengthBytes)
        {
            try
            {
                _mapping = MemoryMappedFile.CreateFromFile(
                    file.Handle, null, 0, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: true);
                _view = _mapping.CreateViewAccessor(startBytes, lengthBytes);
            }
            catch (Exception e) when (FileErrors.IsFromSystem(e))
            {
                _mapping?.Dispose();
                throw FileErrors.From(e, file.Path, "map", startBytes);
            }

            byte* start = null;
            _view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
            Start = start + _view.PointerOffset;
        }

        public byte* Start { get; }

        public void Flush() => _view.Flush();

        public void Dispose()
        {
            // Not the accessor's own end: that flushes, which is slow, and fails on a file system that has become read-only.
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.SafeMemoryMappedViewHandle.Dispose();
            _mapping.Dispose();
        }
    }
}
