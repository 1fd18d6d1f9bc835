// SPDX-License-Identifier: MIT
using Fleece.Images.Chain;

namespace Fleece.Images.Vhd;

/// <summary>A VHD image as the parent of another: its children know it by its identity.</summary>
internal interface IVhdLayer : IImageLayer
{
    /// <summary>The footer's unique id.</summary>
    Guid UniqueId { get; }
}
