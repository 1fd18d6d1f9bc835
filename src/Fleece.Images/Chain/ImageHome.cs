// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Images.Chain;

/// <summary>The folder in which an image really lies: what an image may name without reaching into other folders.</summary>
/// <remarks>
/// <para>An image that is reached through a symbolic link lies where the link leads. The link's own folder does not count: it says where
/// the user likes to find the image, and its files are none of the image's.</para>
/// <para>Threading. Immutable; safe from any thread. It looks at paths and opens nothing.</para>
/// </remarks>
internal sealed class ImageHome
{
    private static readonly StringComparison Comparison =
        OperatingSystem.IsWindows() ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal;

    private readonly string _imagePath;
    private readonly string? _folder;

    /// <summary>Finds the folder of an image.</summary>
    /// <param name="imagePath">Full path of the image, which need not exist yet.</param>
    public ImageHome(string imagePath)
    {
        _imagePath = imagePath;
        _folder = RealPath.Find(imagePath) is { } real ? Path.GetDirectoryName(real) : null;
    }

    /// <summary>True when the image's path is a link that leads out of the folder in which the link stands.</summary>
    public bool IsElsewhere =>
        _folder is null || Path.GetDirectoryName(_imagePath) is not { } linkFolder
        || RealPath.Find(linkFolder) is not { } realLinkFolder || !IsAtOrBelow(_folder, realLinkFolder);

    /// <summary>True when a path leads to a file beside the image, or in a folder below.</summary>
    /// <param name="path">A full path, which need not exist.</param>
    /// <remarks>Where a path begins elsewhere (another drive, a server's share), its server is not asked.</remarks>
    public bool Contains(string path) =>
        _folder is not null
        && string.Equals(Path.GetPathRoot(path), Path.GetPathRoot(_folder), Comparison)
        && RealPath.Find(path) is { } real
        && Path.GetDirectoryName(real) is { } folder
        && IsAtOrBelow(folder, _folder)
        && IsSameFile(path, real);

    /// <summary>The path to tell where an image that is only described names several: in the order in which they are tried, the first that
    /// exists in the image's folder, or that lies elsewhere, where nothing is looked at.</summary>
    /// <param name="imagePath">Full path of the image.</param>
    /// <param name="candidates">Full paths, the best first.</param>
    public static string? Choose(string imagePath, IReadOnlyList<string> candidates)
    {
        string folder = Path.GetDirectoryName(imagePath)!;
        return candidates.FirstOrDefault(path => !IsAtOrBelow(Path.GetDirectoryName(path) ?? path, folder) || File.Exists(path))
            ?? (candidates.Count == 0 ? null : candidates[0]);
    }

    private static bool IsAtOrBelow(string folder, string home) =>
        string.Equals(folder, home, Comparison)
        || folder.StartsWith(Path.TrimEndingDirectorySeparator(home) + Path.DirectorySeparatorChar, Comparison);

    // The text of some links of the system, as /proc/PID/root, is not where they lead.
    private static bool IsSameFile(string path, string real)
    {
        if (path == real || !File.Exists(path))
        {
            return true;
        }

        try
        {
            return FileEvidence.Read(path).FileId == FileEvidence.Read(real).FileId;
        }
        catch (BlockException)
        {
            return false;
        }
    }
}
