// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace Fleece.TestKit;

/// <summary>Reads a file that is open and locked, as the system would leave it to the next process.</summary>
public static class LockedFile
{
    /// <summary>All bytes of the file. The framework's own calls would ask for a lock.</summary>
    public static byte[] Read(string path)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Elsewhere a locked file can't be read.");
        using SafeFileHandle handle = new(Open(Encoding.UTF8.GetBytes(path + "\0"), 0), ownsHandle: true);
        Assert.False(handle.IsInvalid, path);
        byte[] bytes = new byte[RandomAccess.GetLength(handle)];
        for (int done = 0; done < bytes.Length;)
        {
            int read = RandomAccess.Read(handle, bytes.AsSpan(done), done);
            Assert.NotEqual(0, read);
            done += read;
        }

        return bytes;
    }

    [DllImport("libc", EntryPoint = "open")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern nint Open(byte[] path, int flags);
}
