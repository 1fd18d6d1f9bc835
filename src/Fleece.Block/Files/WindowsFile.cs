// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>The calls of Windows that the framework does not wrap.</summary>
internal static unsafe partial class WindowsFile
{
    // winioctl.h: FSCTL_SET_SPARSE, FSCTL_SET_ZERO_DATA, FSCTL_QUERY_ALLOCATED_RANGES.
    private const uint SetSparseCode = 0x000900C4;
    private const uint SetZeroDataCode = 0x000980C8;
    private const uint QueryAllocatedRangesCode = 0x000940CF;

    // System Error Codes: ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED, ERROR_INVALID_PARAMETER, ERROR_MORE_DATA.
    private const int InvalidFunctionError = 1;
    private const int NotSupportedError = 50;
    private const int InvalidParameterError = 87;
    private const int MoreDataError = 234;

    // GetCompressedFileSizeW, INVALID_FILE_SIZE.
    private const uint InvalidFileSize = 0xFFFFFFFF;

    /// <summary>Marks the file sparse, so that zeroed ranges free their storage.</summary>
    /// <returns>False when the file system has no sparse files.</returns>
    public static bool TrySetSparse(SafeFileHandle handle) =>
        DeviceIoControl(handle, SetSparseCode, null, 0, null, 0, out _, 0);

    /// <summary>Zeroes the range; in a sparse file that frees whole allocation units. The size stays.</summary>
    /// <returns>0, or the Win32 error.</returns>
    public static int FreeRange(SafeFileHandle handle, long offsetBytes, long lengthBytes)
    {
        ByteSpan range = new(offsetBytes, offsetBytes + lengthBytes);
        bool isDone = DeviceIoControl(handle, SetZeroDataCode, &range, sizeof(ByteSpan), null, 0, out _, 0);
        return isDone ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <summary>Makes the file durable, in the drive too.</summary>
    /// <returns>0, or the Win32 error.</returns>
    public static int Flush(SafeFileHandle handle) => FlushFileBuffers(handle) ? 0 : Math.Max(1, Marshal.GetLastPInvokeError());

    /// <summary>True when the error says that this file system can't free ranges.</summary>
    public static bool IsNotSupported(int error) =>
        error is InvalidFunctionError or NotSupportedError or InvalidParameterError;

    /// <summary>Finds the first allocated range that overlaps the one given.</summary>
    /// <param name="handle">The file.</param>
    /// <param name="range">Where to look.</param>
    /// <param name="allocated">The part of it that is allocated; empty when none is.</param>
    /// <returns>False when the file system can't tell.</returns>
    public static bool TryFindAllocated(SafeFileHandle handle, BlockRange range, out BlockRange allocated)
    {
        ByteSpan asked = new(range.OffsetBytes, range.LengthBytes);
        ByteSpan found = default;
        int spanBytes = sizeof(ByteSpan);
        bool isDone = DeviceIoControl(
            handle, QueryAllocatedRangesCode, &asked, spanBytes, &found, spanBytes, out int writtenBytes, 0);
        if (!isDone && Marshal.GetLastPInvokeError() != MoreDataError)
        {
            allocated = default;
            return false;
        }

        allocated = writtenBytes < spanBytes
            ? default
            : range.Intersect(new BlockRange(found.First, found.Second));
        return true;
    }

    /// <summary>Bytes that the caller may still store on the volume that holds the folder.</summary>
    public static bool TryGetFreeBytes(string folder, out long freeBytes)
    {
        bool isDone = GetDiskFreeSpaceEx(folder, out ulong callerBytes, out _, out _);
        freeBytes = (long)Math.Min(callerBytes, long.MaxValue);
        return isDone;
    }

    /// <summary>Bytes of storage that the file takes; less than its size when it is sparse.</summary>
    public static bool TryGetAllocatedBytes(string path, out long allocatedBytes)
    {
        uint low = GetCompressedFileSize(path, out uint high);
        allocatedBytes = (long)(((ulong)high << 32) | low);
        return low != InvalidFileSize || Marshal.GetLastPInvokeError() == 0;
    }

    [LibraryImport("kernel32", SetLastError = true)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool DeviceIoControl(
        SafeFileHandle handle,
        uint code,
        void* input,
        int inputBytes,
        void* output,
        int outputBytes,
        out int writtenBytes,
        nint overlapped);

    [LibraryImport("kernel32", SetLastError = true)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool FlushFileBuffers(SafeFileHandle handle);

    [LibraryImport("kernel32", EntryPoint = "GetDiskFreeSpaceExW", StringMarshalling = StringMarshalling.Utf16)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool GetDiskFreeSpaceEx(
        string folder, out ulong callerBytes, out ulong totalBytes, out ulong freeBytes);

    [LibraryImport(
        "kernel32",
        EntryPoint = "GetCompressedFileSizeW",
        SetLastError = true,
        StringMarshalling = StringMarshalling.Utf16)]
    private static partial uint GetCompressedFileSize(string path, out uint high);

    // Offset and length for the query of ranges; offset and end for zeroing.
    [StructLayout(LayoutKind.Sequential)]
    private readonly struct ByteSpan(long first, long second)
    {
        public readonly long First = first;
        public readonly long Second = second;
    }
}
