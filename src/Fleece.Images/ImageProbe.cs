// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images;

/// <summary>Tells a file's format from its first and last bytes.</summary>
/// <remarks>
/// Only for the file a user names, never for what an image refers to: the guest writes a raw disk's bytes and could
/// make them look like anything. That is also why a magic in a file whose name says raw is an error, not an answer.
/// </remarks>
internal static class ImageProbe
{
    private const int HeadBytes = 512;
    private const uint QcowMagic = 0x514649fb;

    /// <summary>The driver to open a file with.</summary>
    /// <param name="file">The file; only read.</param>
    /// <param name="named">What the caller asked for, or null to look at the content.</param>
    /// <exception cref="BlockException">Unsupported, AmbiguousFormat, WrongFormat; read errors.</exception>
    public static IImageDriver Tell(IContainerFile file, ImageFormat? named)
    {
        if (named == ImageFormat.Raw)
        {
            return ImageDrivers.Find(ImageFormat.Raw);
        }

        byte[] head = new byte[HeadBytes];
        file.Read(0, head);
        if (named is { } asked && ImageDrivers.Find(asked) is { } driver && driver.Recognizes(file, head))
        {
            return driver;
        }

        if (IsQcowVersion1(head))
        {
            throw new BlockException(
                BlockErrorKind.Unsupported,
                $"'{file.Path}' is a qcow (version 1) image, which Fleece does not open. Convert it with 'qemu-img convert " +
                "-O qcow2', or, if it is a raw disk that only looks like one, name the format with -Format Raw.",
                file.Path);
        }

        if (named is { } format)
        {
            throw new BlockException(
                BlockErrorKind.WrongFormat,
                $"'{file.Path}' is not a {format} image: it does not have the format's magic. Name the right format " +
                "with -Format, or leave it out.",
                file.Path);
        }

        IImageDriver[] all = Array.FindAll(ImageDrivers.WithMagic, candidate => candidate.Recognizes(file, head));
        if (all.Length > 1)
        {
            throw new BlockException(
                BlockErrorKind.AmbiguousFormat,
                $"'{file.Path}' begins like a {all[0].Format} image and ends like a {all[1].Format} one. A guest can write the one " +
                $"into the other, so Fleece does not guess: name the format with -Format {all[0].Format} or -Format " +
                $"{all[1].Format}.",
                file.Path);
        }

        IImageDriver? found = all.FirstOrDefault();
        if (found is not null && HasRawExtension(file.Path))
        {
            throw new BlockException(
                BlockErrorKind.AmbiguousFormat,
                $"'{file.Path}' looks like a {found.Format} image and is named like a raw one. The guest of a raw disk can " +
                $"write those bytes itself, so Fleece does not guess: name the format with -Format Raw or -Format " +
                $"{found.Format}.",
                file.Path);
        }

        return found ?? ImageDrivers.Find(ImageFormat.Raw);
    }

    private static bool HasRawExtension(string path)
    {
        string extension = Path.GetExtension(path);
        return extension.Equals(".raw", StringComparison.OrdinalIgnoreCase)
            || extension.Equals(".img", StringComparison.OrdinalIgnoreCase);
    }

    private static bool IsQcowVersion1(ReadOnlySpan<byte> head) =>
        BinaryPrimitives.ReadUInt32BigEndian(head) == QcowMagic && BinaryPrimitives.ReadUInt32BigEndian(head[4..]) == 1;
}
