// SPDX-License-Identifier: MIT
namespace Fleece.Images.Checking;

/// <summary>What a check may change.</summary>
public enum ImageRepair
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>Storage that nothing uses is given back.</summary>
    Leaks,

    /// <summary>Leaks, and metadata that contradicts itself; data that only damaged metadata led to may be lost.</summary>
    All,
}
