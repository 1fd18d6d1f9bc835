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

    /// <summary>Full paths where the parent may be, the best first: relative ones, absolute ones, the parent's name beside the
    /// child.</summary>
    public static IReadOnlyList<string> ReadCandidates(IContainerFile file, VhdHeader header)
    {
        List<string> candidates = [];
        List<string> absolute = [];
        foreach (VhdParentLocator locator in header.Locators)
        {
            if (ReadPath(file, locator) is { Length: > 0 } path)
            {
                (IsAbsolute(path) ? absolute : candidates).Add(path);
            }
        }

        candidates.AddRange(absolute);
        string name = header.ParentName[(header.ParentName.LastIndexOfAny(['\\', '/']) + 1)..];
        if (name.Length != 0)
        {
            candidates.Add(name);
        }

        List<string> full = [];
        foreach (string candidate in candidates)
        {
            string path = ImageChain.Resolve(file.Path, candidate);
            if (!full.Contains(path))
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

    // Null for what this system can't follow.
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

        string path = UntilNull(Encoding.Unicode.GetString(bytes));
        if (OperatingSystem.IsWindows() || path.StartsWith('/'))
        {
            return path;
        }

        bool isOfWindows = path.StartsWith('\\') || (path.Length > 1 && path[1] == ':');
        return isOfWindows ? null : path.Replace('\\', '/');
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
        if (OperatingSystem.IsWindows())
        {
            return hasDrive ? path[1..] : path;
        }

        return hasDrive ? null : path;
    }

    private static bool IsAbsolute(string path) => Path.IsPathRooted(path);

    private static string UntilNull(string text)
    {
        int end = text.IndexOf('\0', StringComparison.Ordinal);
        return end < 0 ? text : text[..end];
    }
}
