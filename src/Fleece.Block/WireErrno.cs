// SPDX-License-Identifier: MIT
#pragma warning disable CA1008 // Success is not an error number.
namespace Fleece.Block;

/// <summary>The error number that a peer over a wire gets for a failed request. Source: NBD protocol, "Error values".</summary>
public enum WireErrno
{
    /// <summary>EPERM: refused, and asking again does not help.</summary>
    NotPermitted = 1,

    /// <summary>EIO: the storage failed.</summary>
    Io = 5,

    /// <summary>EINVAL: the request makes no sense.</summary>
    Invalid = 22,

    /// <summary>ENOSPC: no room, or beyond the end.</summary>
    NoSpace = 28,

    /// <summary>ENOTSUP: not offered.</summary>
    NotSupported = 95,

    /// <summary>ESHUTDOWN: what was asked is being taken away.</summary>
    Shutdown = 108,
}
