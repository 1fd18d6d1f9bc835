// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Qcow2;

namespace Fleece.Images;

/// <summary>Tells a file's format from its first and last bytes.</summary>
/// <remarks>
/// Only for the file a user names, never for what an image refers to: the guest writes a raw disk's bytes and could
/// make them look like anything. That is also why a magic in a file whose name says raw is an error, not an answer.
/// </remarks>
internal static class ImageProbe
{
    private const int HeadBytes = 512;
    private const int FooterBytes = 512;
    private const int VdiMagicOffsetBytes = 64;
    private const uint VdiMagic = 0xbeda107f;

    /// <summary>The format to open a file with.</summary>
    /// <param name="file">The file; only read.</param>
    /// <param name="named">What the caller asked for, or null to look at the content.</param>
    /// <exception cref="BlockException">Unsupported, AmbiguousFormat, WrongFormat; read errors.</exception>
    public static ImageFormat Tell(IContainerFile file, ImageFormat? named)
    {
        if (named == ImageFormat.Raw)
        {
            return ImageFormat.Raw;
        }

        Span<byte> head = stackalloc byte[HeadBytes];
        file.Read(0, head);
        if (FindForeign(file, head) is { } foreign)
        {
            throw new BlockException(
                BlockErrorKind.Unsupported,
                $"'{file.Path}' is a {foreign} image, which Fleece does not open. Convert it with 'qemu-img convert " +
                "-O qcow2', or, if it is a raw disk that only looks like one, name the format with -Format Raw.",
                file.Path);
        }

        bool isQcow2 = BinaryPrimitives.ReadUInt32BigEndian(head) == Qcow2Header.Magic;
        if (named == ImageFormat.Qcow2 && !isQcow2)
        {
            throw new BlockException(
                BlockErrorKind.WrongFormat,
                $"'{file.Path}' is not a qcow2 image: it does not start with the qcow2 magic. Name the right format " +
                "with -Format, or leave it out.",
                file.Path);
        }

        if (named is null && isQcow2 && HasRawExtension(file.Path))
        {
            throw new BlockException(
                BlockErrorKind.AmbiguousFormat,
                $"'{file.Path}' starts like a qcow2 image and is named like a raw one. The guest of a raw disk can " +
                "write those bytes itself, so Fleece does not guess: name the format with -Format Raw or -Format " +
                "Qcow2.",
                file.Path);
        }

        return isQcow2 ? ImageFormat.Qcow2 : ImageFormat.Raw;
    }

    private static bool HasRawExtension(string path)
    {
        string extension = System.IO.Path.GetExtension(path);
        return extension.Equals(".raw", StringComparison.OrdinalIgnoreCase)
            || extension.Equals(".img", StringComparison.OrdinalIgnoreCase);
    }

    private static string? FindForeign(IContainerFile file, ReadOnlySpan<byte> head)
    {
        if (BinaryPrimitives.ReadUInt32BigEndian(head) == Qcow2Header.Magic)
        {
            return BinaryPrimitives.ReadUInt32BigEndian(head[4..]) == 1 ? "qcow (version 1)" : null;
        }

        if (head.StartsWith("vhdxfile"u8))
        {
            return "VHDX";
        }

        if (head.StartsWith("conectix"u8) || HasVhdFooter(file))
        {
            return "VHD";
        }

        if (head.StartsWith("KDMV"u8) || head.StartsWith("COWD"u8) || head.StartsWith("# Disk DescriptorFile"u8))
        {
            return "VMDK";
        }

        return BinaryPrimitives.ReadUInt32LittleEndian(head[VdiMagicOffsetBytes..]) == VdiMagic ? "VDI" : null;
    }

    // A fixed VHD is the raw disk with a footer behind it; very old files have one of 511 bytes.
    private static bool HasVhdFooter(IContainerFile file)
    {
        long fileBytes = file.GetLength();
        if (fileBytes < FooterBytes)
        {
            return false;
        }

        Span<byte> tail = stackalloc byte[FooterBytes];
        file.Read(fileBytes - FooterBytes, tail);
        return tail.StartsWith("conectix"u8) || tail[1..].StartsWith("conectix"u8);
    }
}
