// SPDX-License-Identifier: MIT
namespace Fleece.Images;

/// <summary>How the bytes of a disk are stored in a file.</summary>
public enum ImageFormat
{
    /// <summary>The file's bytes are the disk's bytes; what was never written is a hole of the file system.</summary>
    Raw,

    /// <summary>QEMU's copy-on-write format, versions 2 and 3.</summary>
    Qcow2,

    /// <summary>Virtual PC's and Hyper-V's first format: fixed, dynamic or differencing, up to 2040 GiB.</summary>
    Vhd,

    /// <summary>Hyper-V's second format: fixed, dynamic or differencing, up to 64 TiB.</summary>
    Vhdx,

    /// <summary>VMware's format. Read-only, and only where the adapter is installed.</summary>
    Vmdk,

    /// <summary>VirtualBox's format. Read-only, and only where the adapter is installed.</summary>
    Vdi,
}
