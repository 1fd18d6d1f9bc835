// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Logs;

/// <summary>The file systems on which storage that was allocated is there for each later store to a mapped file.</summary>
/// <remarks>Others may write a changed page to a new place, for which there may be no room. XFS allocates in place, and yet answers a
/// store with SIGBUS once it has shut down after an error of its device: that ends the process with all of its disks, and a pwrite fails
/// for one of them. ext2 and ext3 have the number of ext4. Source of the numbers: statfs(2).</remarks>
internal static class MappableFileSystems
{
    private const uint Ext = 0xEF53;
    private const uint Tmpfs = 0x0102_1994;

    // More than struct statfs has on any system; its first field is the type.
    private const int StatusBytes = 512;

    /// <summary>True when the file lies on one of them.</summary>
    public static unsafe bool Has(SafeFileHandle handle)
    {
        if (!OperatingSystem.IsLinux() || !Environment.Is64BitProcess)
        {
            return false;
        }

        byte* status = stackalloc byte[StatusBytes];
        return LibC.StatFileSystem(handle, status) == 0 && *(long*)status is Ext or Tmpfs;
    }
}
