// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Fleece.Block.Files;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Nbd.Tls;

/// <summary>Reads the file of a certificate: a regular file of bounded length, and nothing that waits or has no end.</summary>
internal static class CertificateFile
{
    /// <summary>The longest file: all authorities of a system take a quarter of it.</summary>
    public const int MaximumBytes = 1024 * 1024;

    // open(2): O_RDONLY with O_NONBLOCK and O_CLOEXEC, of Linux and of macOS.
    private const int LinuxFlags = 0x800 | 0x80000;
    private const int MacFlags = 0x4 | 0x1000000;

    /// <summary>The content.</summary>
    /// <exception cref="IOException">The path leads to no regular file, or to one that is too long; or the error of the system.</exception>
    /// <exception cref="UnauthorizedAccessException">The user may not read it.</exception>
    public static byte[] Read(string path)
    {
        if (PosixStat.IsSpecialFile(path))
        {
            throw NotRegular();
        }

        using SafeFileHandle handle = Open(path);

        // Another file may lie there by now.
        if (OperatingSystem.IsLinux() && (!PosixStat.TryLook(handle, out PosixStat.FileLook look) || !look.IsRegular))
        {
            throw NotRegular();
        }

        byte[] content = new byte[(int)Math.Min(RandomAccess.GetLength(handle), MaximumBytes) + 1];
        int lengthBytes = 0;
        while (RandomAccess.Read(handle, content.AsSpan(lengthBytes), lengthBytes) is > 0 and var readBytes)
        {
            lengthBytes += readBytes;
            if (lengthBytes > MaximumBytes)
            {
                throw new IOException($"It is longer than {MaximumBytes} bytes, the most that a file of certificates may have.");
            }

            if (lengthBytes == content.Length)
            {
                throw new IOException("It changed while it was read. Try again.");
            }
        }

        return content[..lengthBytes];
    }

    // The framework's own way waits at a pipe for its other end.
    private static SafeFileHandle Open(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            return File.OpenHandle(path);
        }

        int descriptor = LibC.Open(path, OperatingSystem.IsMacOS() ? MacFlags : LinuxFlags);
        return descriptor >= 0
            ? new SafeFileHandle(descriptor, ownsHandle: true)
            : throw new IOException($"{Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}.");
    }

    private static IOException NotRegular() => new("It is a device, a pipe or a socket, and no regular file.");
}
