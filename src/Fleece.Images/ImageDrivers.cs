// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Foreign;
using Fleece.Images.Qcow2;
using Fleece.Images.Raw;
using Fleece.Images.Vhd;
using Fleece.Images.Vhdx;

namespace Fleece.Images;

/// <summary>The formats Fleece knows.</summary>
internal static class ImageDrivers
{
    /// <summary>Those that can be told from the content; raw is what none of them recognizes. The one whose magic is at
    /// the end is last.</summary>
    public static readonly IImageDriver[] WithMagic =
    [
        new Qcow2Driver(),
        new VhdxDriver(),
        new ForeignDriver(ImageFormat.Vmdk, ForeignAdapter.Find),
        new ForeignDriver(ImageFormat.Vdi, ForeignAdapter.Find),
        new VhdDriver(),
    ];

    private static readonly RawDriver Raw = new();

    /// <summary>The driver of a format.</summary>
    /// <exception cref="BlockException">Unsupported.</exception>
    public static IImageDriver Find(ImageFormat format) => format == ImageFormat.Raw
        ? Raw
        : Array.Find(WithMagic, driver => driver.Format == format) ?? throw new BlockException(
            BlockErrors.Unsupported, $"Fleece has no driver for the format {format}.");
}
