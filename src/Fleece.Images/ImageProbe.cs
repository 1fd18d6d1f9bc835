// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Vhd;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images;

/// <summary>Tells a file's format from its first and last bytes.</summary>
/// <remarks>
/// Only for the file a user names, never for what an image refers to: the guest writes a raw disk's bytes and could
/// make them look like anything. That is also why a magic in a file whose name says raw is an error, not an answer, and why a file
/// without a magic is raw only where its name says so.
/// </remarks>
internal static class ImageProbe
{
    /// <summary>Bytes from the start on that tell a format.</summary>
    public const int HeadBytes = 512;

    /// <summary>The driver to open a file with.</summary>
    /// <param name="file">The file; only read.</param>
    /// <param name="named">What the caller asked for, or null to look at the content.</param>
    /// <param name="parameter">The user's parameter for the format, for messages; null where there is none.</param>
    /// <exception cref="BlockException">Unsupported, AmbiguousFormat, WrongFormat; read errors.</exception>
    public static IImageDriver Tell(IContainerFile file, ImageFormat? named, string? parameter)
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
                BlockErrors.Unsupported,
                $"'{file.Path}' is a qcow (version 1) image, which Fleece does not open. Convert it with 'qemu-img convert " +
                (parameter is null
                    ? "-O qcow2'."
                    : $"-O qcow2', or, if it is a raw disk that only looks like one, name the format with {parameter} Raw."),
                file.Path);
        }

        if (named is { } format)
        {
            throw WrongFormat(file, head, format, parameter);
        }

        IImageDriver[] all = Array.FindAll(ImageDrivers.WithMagic, candidate => candidate.Recognizes(file, head));
        if (all.Length > 1)
        {
            throw new BlockException(
                ImageErrors.AmbiguousFormat,
                $"'{file.Path}' begins like a {all[0].Format} image and ends like a {all[1].Format} one. A guest can write the one " +
                "into the other, so Fleece does not guess. " +
                (parameter is null
                    ? "Name another image."
                    : $"Name the format with {parameter} {all[0].Format} or {parameter} {all[1].Format}."),
                file.Path);
        }

        return all is [IImageDriver found] ? CheckName(file.Path, found, parameter) : RawByName(file, parameter);
    }

    /// <summary>The format of an image that begins so; null for bytes that begin none. Of the formats that Fleece writes.</summary>
    /// <param name="head">The first <see cref="HeadBytes"/>.</param>
    public static ImageFormat? FindByHead(ReadOnlySpan<byte> head) =>
        BinaryPrimitives.ReadUInt32BigEndian(head) == Qcow2Header.Magic ? ImageFormat.Qcow2
        : BinaryPrimitives.ReadUInt64LittleEndian(head) == VhdxFormat.FileSignature ? ImageFormat.Vhdx
        : VhdFooter.HasCookie(head) ? ImageFormat.Vhd
        : null;

    // On an export the format is always named: without it the image's own bytes would become the disk.
    private static BlockException WrongFormat(IContainerFile file, ReadOnlySpan<byte> head, ImageFormat named, string? parameter)
    {
        bool isOnNode = file is NodeContainer;
        string seen = FindByHead(head) is { } found ? $"it begins like a {found} image. "
            : named == ImageFormat.Vhd && isOnNode
            ? "neither the first nor the last sector of the export is a VHD's. The footer of a fixed VHD is its only mark and must be at " +
              "the export's end, so the export must be exactly as long as the file was. "
            : "it does not have the format's magic. ";
        string advice = parameter is null ? "Name another image."
            : isOnNode ? $"Name the right format with {parameter}."
            : $"Name the right format with {parameter}, or leave it out.";
        return new BlockException(ImageErrors.WrongFormat, $"'{file.Path}' is not a {named} image: {seen}{advice}", file.Path);
    }

    private static IImageDriver CheckName(string path, IImageDriver found, string? parameter) =>
        ImageNames.Find(path) != ImageFormat.Raw
            ? found
            : throw new BlockException(
                ImageErrors.AmbiguousFormat,
                $"'{path}' looks like a {found.Format} image and is named like a raw one. The guest of a raw disk can write those bytes " +
                "itself, so Fleece does not guess. " +
                (parameter is null
                    ? $"If it is a {found.Format} image, give it the extension {ImageNames.ExtensionOf(found.Format)}, or name another one."
                    : $"Name the format with {parameter} Raw or {parameter} {found.Format}."),
                path);

    // A raw disk has no mark of its own, so its name must say that it is one. An image that lost its header looks like one too, and
    // writing to it would destroy what is left of it.
    private static IImageDriver RawByName(IContainerFile file, string? parameter) => ImageNames.Find(file.Path) switch
    {
        ImageFormat.Raw => ImageDrivers.Find(ImageFormat.Raw),
        _ when file.GetLength() == 0 => ImageDrivers.Find(ImageFormat.Raw),
        { } named => throw new BlockException(
            ImageErrors.Corrupt,
            $"'{file.Path}' is named like a {named} image and does not have the format's magic: it is damaged, or its name is wrong. " +
            "Restore it from a backup, or, if it is a raw disk, " +
            (parameter is null ? "give it the extension .raw." : $"name the format with {parameter} Raw."),
            file.Path),
        null => throw new BlockException(
            ImageErrors.AmbiguousFormat,
            $"'{file.Path}' has the magic of no image format, and its name does not say that it is a raw disk, so Fleece does not guess. " +
            (parameter is null ? "Give the file" : $"Name the format with {parameter} Raw, or give the file") +
            " the extension .raw or .img.",
            file.Path),
    };

    private static bool IsQcowVersion1(ReadOnlySpan<byte> head) =>
        BinaryPrimitives.ReadUInt32BigEndian(head) == Qcow2Header.Magic && BinaryPrimitives.ReadUInt32BigEndian(head[4..]) == 1;
}
