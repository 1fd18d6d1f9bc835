// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Images.Chain;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>How a differencing image says where its parent is ("Dynamic Disk Header Format", Parent Locator Entries).</summary>
/// <remarks>
/// <code>
/// W2ru   relative path of Windows, UTF-16 little-endian      MacX   file URL, UTF-8, percent-encoded
/// W2ku   absolute path of Windows, UTF-16 little-endian      others are deprecated or aliases of Mac OS, and not read
/// </code>
/// </remarks>
internal static class VhdParentLocators
{
    public const uint WindowsRelative = 0x57327275;
    public const uint WindowsAbsolute = 0x57326b75;
    public const uint FileUrl = 0x4d616358;

    private const string UrlPrefix = "file://";
    private const string UrlHost = "localhost";

    /// <summary>Full paths where the parent may be, the best first: relative ones, absolute ones, files beside the child.</summary>
    /// <remarks>A file beside the child is one with the parent's recorded name, or with the last part of a Windows path where there are
    /// no drive letters.</remarks>
    public static IReadOnlyList<string> ReadCandidates(IContainerFile file, VhdHeader header)
    {
        List<string> relative = [];
        List<string> absolute = [];
        List<string> beside = [];
        foreach (VhdParentLocator locator in header.Locators)
        {
            if (ReadPath(file, locator) is { Length: > 0 } path)
            {
                Sort(path, relative, absolute, beside);
            }
        }

        beside.Add(LastPart(header.ParentName));
        List<string> full = [];
        foreach (string candidate in (IEnumerable<string>)[.. relative, .. absolute, .. beside])
        {
            string path = candidate.Length == 0 ? string.Empty : ImageChain.Resolve(file.Path, candidate);
            if (path.Length != 0 && !full.Contains(path))
            {
                full.Add(path);
            }
        }

        return full;
    }

    /// <summary>The locators of a new image, each with its platform.</summary>
    public static IReadOnlyList<(uint Platform, byte[] Bytes)> Make(string childPath, string parentPath)
    {
        List<(uint Platform, byte[] Bytes)> locators = [];
        string relative = Path.GetRelativePath(Path.GetDirectoryName(Path.GetFullPath(childPath))!, parentPath);

        // A Windows path can't hold a backslash in a name, as those of other systems may.
        bool isForWindows = OperatingSystem.IsWindows() || !parentPath.Contains('\\', StringComparison.Ordinal);
        if (isForWindows && !Path.IsPathRooted(relative))
        {
            string windows = relative.Replace('/', '\\');
            string dotted = windows.StartsWith("..\\", StringComparison.Ordinal) ? windows : $".\\{windows}";
            locators.Add((WindowsRelative, Encoding.Unicode.GetBytes(dotted)));
        }

        if (isForWindows)
        {
            locators.Add((WindowsAbsolute, Encoding.Unicode.GetBytes(parentPath)));
        }

        if (!OperatingSystem.IsWindows())
        {
            string url = UrlPrefix + string.Join('/', parentPath.Split('/').Select(Uri.EscapeDataString));
            locators.Add((FileUrl, Encoding.UTF8.GetBytes(url)));
        }

        return locators;
    }

    // Null for a platform that is not read, and for a locator that the file does not hold.
    private static string? ReadPath(IContainerFile file, VhdParentLocator locator)
    {
        if (locator.Platform is not (WindowsRelative or WindowsAbsolute or FileUrl)
            || locator.OffsetBytes + locator.LengthBytes > file.GetLength())
        {
            return null;
        }

        byte[] bytes = new byte[locator.LengthBytes];
        file.Read(locator.OffsetBytes, bytes);
        if (locator.Platform == FileUrl)
        {
            return FromUrl(UntilNull(Encoding.UTF8.GetString(bytes)));
        }

        return UntilNull(Encoding.Unicode.GetString(bytes));
    }

    private static void Sort(string path, List<string> relative, List<string> absolute, List<string> beside)
    {
        bool isOfWindows = path.StartsWith('\\') || (path.Length > 1 && path[1] == ':');
        if (OperatingSystem.IsWindows() || path.StartsWith('/'))
        {
            (Path.IsPathRooted(path) ? absolute : relative).Add(path);
        }
        else if (isOfWindows)
        {
            beside.Add(LastPart(path));
        }
        else
        {
            relative.Add(path.Replace('\\', '/'));
        }
    }

    private static string? FromUrl(string url)
    {
        if (!url.StartsWith(UrlPrefix, StringComparison.OrdinalIgnoreCase))
        {
            return null;
        }

        string path = UntilNull(Uri.UnescapeDataString(url[UrlPrefix.Length..]));
        path = path.StartsWith(UrlHost + "/", StringComparison.OrdinalIgnoreCase) ? path[UrlHost.Length..] : path;
        bool hasDrive = path.Length > 2 && path[0] == '/' && path[2] == ':';
        return hasDrive ? path[1..] : path;
    }

    private static string LastPart(string path) => path[(path.LastIndexOfAny(['\\', '/']) + 1)..];

    private static string UntilNull(string text)
    {
        int end = text.IndexOf('\0', StringComparison.Ordinal);
        return end < 0 ? text : text[..end];
    }
}
