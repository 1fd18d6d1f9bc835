// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Fleece.Block.Buffers;

/// <summary>Memory that the system gives and takes back at once.</summary>
/// <remarks>
/// The collector keeps what large arrays took until its next full collection and some of it beyond that, and the C library's allocator
/// keeps what was freed in an arena for each thread. So on Linux the pages come from the kernel itself. Windows' heap does the same
/// for large blocks.
/// Threading. Safe from any thread.
/// </remarks>
internal static unsafe partial class SystemPages
{
    // mmap(2), include/uapi/asm-generic/mman-common.h.
    private const int ReadAndWrite = 1 | 2;
    private const int PrivateAnonymous = 2 | 0x20;

    private static readonly bool IsMapped = OperatingSystem.IsLinux() && Environment.Is64BitProcess;

    /// <summary>Pages with any content.</summary>
    /// <exception cref="OutOfMemoryException">The system has none to give.</exception>
    public static byte* Take(int lengthBytes)
    {
        if (!IsMapped)
        {
            return (byte*)NativeMemory.Alloc((nuint)lengthBytes);
        }

        byte* pages = Map(null, (nuint)lengthBytes, ReadAndWrite, PrivateAnonymous, -1, 0);
        return pages != (byte*)-1
            ? pages
#pragma warning disable CA2201 // The same as where the runtime allocates.
            : throw new OutOfMemoryException($"The system has no memory for a buffer of {lengthBytes} bytes.");
#pragma warning restore CA2201
    }

    /// <summary>Gives pages back.</summary>
    public static void Return(byte* pages, int lengthBytes)
    {
        if (!IsMapped)
        {
            NativeMemory.Free(pages);
        }
        else
        {
            // It fails only for pages that are none, or where splitting a mapping would make too many; then they stay mapped.
            _ = Unmap(pages, (nuint)lengthBytes);
        }
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial byte* Map(byte* at, nuint lengthBytes, int protection, int flags, int file, nint offsetBytes);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(byte* pages, nuint lengthBytes);
}
