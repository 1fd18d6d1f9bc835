// SPDX-License-Identifier: MIT
using Fleece.Images.Maps;

namespace Fleece.Images.Vhd;

/// <summary>The map of a VHD image, which its children know by its identity.</summary>
internal interface IVhdMap : IImageMap
{
    /// <summary>The footer's unique id.</summary>
    Guid UniqueId { get; }
}
