// SPDX-License-Identifier: MIT
namespace Fleece.Images;

/// <summary>The caller's parameters by which its user decides about an image that Fleece does not decide about; for the advice in
/// messages.</summary>
internal sealed record ImageParameters
{
    /// <summary>Those of most cmdlets.</summary>
    public static ImageParameters Default { get; } = new();

    /// <summary>None: the user can only change the file, or name another one.</summary>
    public static ImageParameters None { get; } = new() { Format = null, AllowOutsideDataFile = null };

    /// <summary>Names the format; null where there is no such parameter.</summary>
    public string? Format { get; init; } = "-Format";

    /// <summary>Allows a data file outside the folder of the image; null where there is no such parameter.</summary>
    public string? AllowOutsideDataFile { get; init; } = "-AllowOutsideDataFile";
}
