// SPDX-License-Identifier: MIT
using System.Collections.Frozen;
using Fleece.Block;

namespace Fleece.Images;

/// <summary>The formats that the extensions of file names mean.</summary>
internal static class ImageNames
{
    private static readonly FrozenDictionary<string, ImageFormat> Formats = new Dictionary<string, ImageFormat>
    {
        [".raw"] = ImageFormat.Raw,
        [".img"] = ImageFormat.Raw,
        [".dd"] = ImageFormat.Raw,
        [".iso"] = ImageFormat.Raw,
        [".qcow2"] = ImageFormat.Qcow2,
        [".qcow"] = ImageFormat.Qcow2,
        [".vhd"] = ImageFormat.Vhd,
        [".avhd"] = ImageFormat.Vhd,
        [".vhdx"] = ImageFormat.Vhdx,
        [".avhdx"] = ImageFormat.Vhdx,
        [".vmdk"] = ImageFormat.Vmdk,
        [".vdi"] = ImageFormat.Vdi,
    }.ToFrozenDictionary(StringComparer.OrdinalIgnoreCase);

    /// <summary>The format that a name means; null when it means none.</summary>
    public static ImageFormat? Find(string path) =>
        Formats.TryGetValue(Path.GetExtension(path), out ImageFormat format) ? format : null;

    /// <summary>The extension that the format's files usually have.</summary>
    public static string ExtensionOf(ImageFormat format) => $".{format.ToString().ToLowerInvariant()}";

    /// <summary>The format of a new file: raw where the name means none.</summary>
    /// <exception cref="BlockException">Unsupported: the name means a format that Fleece does not write.</exception>
    public static ImageFormat ForNewFile(string path, string? parameter) => Find(path) switch
    {
        null => ImageFormat.Raw,
        ImageFormat.Vmdk or ImageFormat.Vdi => throw new BlockException(
            BlockErrors.Unsupported,
            $"Fleece does not write {Path.GetExtension(path)[1..].ToUpperInvariant()} images. Give '{path}' the extension .qcow2, .vhdx, " +
            $".vhd or .raw{(parameter is null ? "" : $", or name the format with {parameter}")}.",
            path),
        { } format => format,
    };
}
