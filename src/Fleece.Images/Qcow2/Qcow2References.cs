// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2;

/// <summary>The other files an image names: its parent and its data file (qcow2.txt, "Header extensions").</summary>
internal static class Qcow2References
{
    private const string ParentAdvice = "Record a plain path with 'qemu-img rebase -u -b PATH -F FORMAT'";

    private static readonly (string Name, ImageFormat Format)[] FormatNames =
    [
        ("raw", ImageFormat.Raw),
        ("qcow2", ImageFormat.Qcow2),
        ("vpc", ImageFormat.Vhd),
        ("vhdx", ImageFormat.Vhdx),
    ];

    /// <summary>What a format is called in the backing format extension.</summary>
    public static string NameOf(ImageFormat format) => Array.Find(FormatNames, row => row.Format == format).Name;

    /// <summary>Full path of the parent; null without one, or when its name is no path.</summary>
    /// <exception cref="BlockException">Corrupt: it holds a null character.</exception>
    public static string? FindParentPath(string path, Qcow2Header header) =>
        header.BackingName is { } name && !IsProtocol(name) ? Resolve(path, "backing file name", name) : null;

    /// <summary>The parent's format; null when the image records none, or one Fleece does not have.</summary>
    public static ImageFormat? FindParentFormat(Qcow2Header header) =>
        header.Extensions.FindString(HeaderExtensions.BackingFormat) is { } name
        && Array.FindIndex(FormatNames, row => row.Name == name) is var index and >= 0
            ? FormatNames[index].Format
            : null;

    /// <summary>Opens the parent.</summary>
    /// <exception cref="BlockException">Unsupported: its name is no path, or its format is not recorded or not one of
    /// Fleece's; and as <see cref="ImageChain.OpenParent"/>.</exception>
    public static ParentImage? OpenParent(string path, Qcow2Header header, ImageChain chain)
    {
        if (header.BackingName is not { } name)
        {
            return null;
        }

        if (IsProtocol(name))
        {
            throw Qcow2Fault.Unsupported(
                path, $"its backing file is '{name}', and Fleece follows paths only. {ParentAdvice}");
        }

        if (header.Extensions.FindString(HeaderExtensions.BackingFormat) is not { } formatName)
        {
            throw Qcow2Fault.Unsupported(
                path,
                $"it does not record the format of its backing file '{name}', and Fleece does not guess it, because the " +
                $"guest of a raw disk can make that look like anything. Record it with 'qemu-img rebase -u -b \"{name}\" " +
                "-F FORMAT'");
        }

        ImageFormat format = FindParentFormat(header) ?? throw Qcow2Fault.Unsupported(
            path, $"its backing file '{name}' has the format '{formatName}', which Fleece does not read as a parent");
        return chain.OpenParent(path, [Resolve(path, "backing file name", name)], format);
    }

    /// <summary>Full path of the data file; null when the data lies in the image.</summary>
    /// <exception cref="BlockException">Unsupported: no name is recorded, or it is no path; Corrupt: it holds a null
    /// character.</exception>
    public static string? FindDataFilePath(string path, Qcow2Header header)
    {
        if (!header.HasDataFile)
        {
            return null;
        }

        string? name = header.Extensions.FindString(HeaderExtensions.DataFileName);
        if (string.IsNullOrEmpty(name) || IsProtocol(name))
        {
            throw Qcow2Fault.Unsupported(
                path,
                $"its data lies in an external data file, named '{name}' in its header, which is no path. Make it one " +
                "file with 'qemu-img convert'");
        }

        return Resolve(path, "data file name", name);
    }

    /// <summary>Opens the data file as the image is opened, with the same locks.</summary>
    /// <param name="image">The image.</param>
    /// <param name="header">Its header.</param>
    /// <param name="options">How the image was opened.</param>
    /// <exception cref="BlockException">As <see cref="FindDataFilePath"/>; Corrupt: it is the image itself; why the file
    /// can't be opened.</exception>
    public static LocalContainer? OpenDataFile(IContainerFile image, Qcow2Header header, ImageOpenOptions options)
    {
        if (FindDataFilePath(image.Path, header) is not { } path)
        {
            return null;
        }

        if (Path.GetFullPath(image.Path) == path)
        {
            throw Qcow2Fault.Corrupt(image.Path, "it names itself as its external data file");
        }

        return new LocalContainer(LocalFile.Open(path, image.IsReadOnly, options.IsTransient, options.FlushFailed));
    }

    // The length of a name is recorded beside it, so nothing but damage puts a null character into it, and no file has such a name.
    private static string Resolve(string path, string field, string name)
    {
        int at = name.IndexOf('\0', StringComparison.Ordinal);
        return at < 0
            ? ImageChain.Resolve(path, name)
            : throw Qcow2Fault.Corrupt(path, $"its {field} '{name.Replace('\0', '?')}' has a null character at {at}");
    }

    /// <summary>True for names that QEMU hands to a driver of its own: "json:{...}", "nbd://host/x", "rbd:pool/x".</summary>
    public static bool IsProtocol(string name)
    {
        int colon = name.IndexOf(':', StringComparison.Ordinal);
        int slash = name.IndexOfAny(['/', '\\']);
        bool isDrive = OperatingSystem.IsWindows() && colon == 1;
        return colon > 0 && !isDrive && (slash < 0 || colon < slash);
    }
}
