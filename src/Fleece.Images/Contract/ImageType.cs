// SPDX-License-Identifier: MIT
namespace Fleece.Images;

/// <summary>How an image uses its file, in Hyper-V's words.</summary>
public enum ImageType
{
    /// <summary>Every byte of the disk has its place in the file from the start.</summary>
    Fixed,

    /// <summary>The file grows with what is written.</summary>
    Dynamic,

    /// <summary>The file holds what differs from its parent.</summary>
    Differencing,
}
