// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2;

/// <summary>The other files an image names: its parent and its data file (qcow2.txt, "Header extensions").</summary>
internal static class Qcow2References
{
    // A user who does not trust the image must not convert it: that would copy the file that it names.
    private const string DataFileAdvice = "Its owner can make the image one file with qemu-img convert";

    // PowerShell takes the typographic ones for the plain one.
    private const string QuotesOfShells = "'\u2018\u2019\u201a\u201b";

    private static readonly (string Name, ImageFormat Format)[] FormatNames =
    [
        ("raw", ImageFormat.Raw),
        ("qcow2", ImageFormat.Qcow2),
        ("vpc", ImageFormat.Vhd),
        ("vhdx", ImageFormat.Vhdx),
    ];

    /// <summary>What a format is called in the backing format extension.</summary>
    public static string NameOf(ImageFormat format) => Array.Find(FormatNames, row => row.Format == format).Name;

    /// <summary>Full path of the parent; null without one, or when its name is none that Fleece follows.</summary>
    /// <exception cref="BlockException">Corrupt: it holds a null character.</exception>
    public static string? FindParentPath(string path, Qcow2Header header)
    {
        try
        {
            return ReadParent(path, header)?.Path;
        }
        catch (BlockException failure) when (failure.Kind == BlockErrors.Unsupported)
        {
            return null;
        }
    }

    /// <summary>The parent's format; null when the image records none, or one Fleece does not have.</summary>
    public static ImageFormat? FindParentFormat(Qcow2Header header) =>
        header.Extensions.FindString(HeaderExtensions.BackingFormat) is { } name ? FindFormat(name) : null;

    /// <summary>Opens the parent.</summary>
    /// <exception cref="BlockException">Unsupported: its name is none that Fleece follows, or its format is not recorded or not one of
    /// Fleece's; Corrupt: it records two formats; and as
    /// <see cref="ImageChain.OpenParent(string, IReadOnlyList{string}, ImageFormat, Func{IContainerFile, BlockException?})"/>.</exception>
    public static ParentImage? OpenParent(string path, Qcow2Header header, ImageChain chain)
    {
        if (ReadParent(path, header) is not { } parent)
        {
            return null;
        }

        string? recordedFormat = header.Extensions.FindString(HeaderExtensions.BackingFormat);
        if (recordedFormat is not null && parent.FormatName is not null && recordedFormat != parent.FormatName)
        {
            throw FormatFault.Qcow2.Corrupt(
                path,
                $"it records the format '{recordedFormat}' for its backing file, whose name asks for the driver '{parent.FormatName}'");
        }

        string formatName = recordedFormat ?? parent.FormatName ?? throw FormatFault.Qcow2.Unsupported(
            path,
            $"it does not record the format of its backing file '{header.BackingName}', and Fleece does not guess it, because the " +
            $"guest of a raw disk can make that look like anything. Record it with {Rebase(path, header.BackingName!)}");
        ImageFormat format = FindFormat(formatName) ?? throw FormatFault.Qcow2.Unsupported(
            path, $"its backing file '{header.BackingName}' has the format '{formatName}', which Fleece does not read as a parent");
        return chain.OpenParent(path, [parent.Path], format);
    }

    /// <summary>Full path of the data file; null when the data lies in the image.</summary>
    /// <exception cref="BlockException">Unsupported: no name is recorded, or none that Fleece follows; Corrupt: it holds a null
    /// character.</exception>
    public static string? FindDataFilePath(string path, Qcow2Header header)
    {
        if (!header.HasDataFile)
        {
            return null;
        }

        string? name = header.Extensions.FindString(HeaderExtensions.DataFileName);
        return string.IsNullOrEmpty(name)
            ? throw FormatFault.Qcow2.Unsupported(
                path,
                "its data lies in an external data file, which its header does not name. Its owner, who knows the file, can make the two " +
                "one with qemu-img convert")
            : RecordedName.Read(path, "data file name", name, DataFileAdvice, DataFileAdvice).Path;
    }

    /// <summary>Opens the data file as the image is opened, with the same locks.</summary>
    /// <param name="image">The image.</param>
    /// <param name="header">Its header.</param>
    /// <param name="options">How the image was opened.</param>
    /// <param name="chain">Opens files that images name.</param>
    /// <exception cref="BlockException">As <see cref="FindDataFilePath"/> and
    /// <see cref="ImageChain.OpenDataFile"/>.</exception>
    public static LocalContainer? OpenDataFile(IContainerFile image, Qcow2Header header, ImageOpenOptions options, ImageChain chain) =>
        FindDataFilePath(image.Path, header) is { } path ? chain.OpenDataFile(image, path, options) : null;

    private static RecordedName? ReadParent(string path, Qcow2Header header) => header.BackingName is { } name
        ? RecordedName.Read(
            path,
            "backing file name",
            name,
            fileAdvice: $"Record the full path of the file that is meant with {Rebase(path, "PATH")}",
            otherAdvice: "Another name would make another disk of the image, so its owner should make it one file with qemu-img convert " +
                $"-f qcow2 -O qcow2 {Quote(path) ?? "IMAGE"} NEW, which reads through that name")
        : null;

    // -u changes the header alone, so with another file the disk becomes another one. The name must be the right one.
    private static string Rebase(string path, string backingName) =>
        $"qemu-img rebase -u -f qcow2 -b {Quote(backingName) ?? "NAME"} -F FORMAT {Quote(path) ?? "IMAGE"}, where FORMAT is raw, qcow2, " +
        "vpc or vhdx";

    // Users paste the command, so a name that could end its quotes, or that a message shows otherwise, is not in it.
    private static string? Quote(string name) =>
        name.AsSpan().ContainsAny(QuotesOfShells) || PrintableText.Of(name) != name ? null : $"'{name}'";

    private static ImageFormat? FindFormat(string name) =>
        Array.FindIndex(FormatNames, row => row.Name == name) is var index and >= 0 ? FormatNames[index].Format : null;
}
