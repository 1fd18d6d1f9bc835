// SPDX-License-Identifier: MIT
namespace Fleece.Images.Chain;

/// <summary>The path that a path leads to once every symbolic link in it is followed, folders' links too.</summary>
/// <remarks>Threading. No state; safe from any thread. It looks at links and opens nothing.</remarks>
internal static class RealPath
{
    /// <summary>Most links that are followed; Linux stops at 40 (path_resolution(7)).</summary>
    private const int MaximumLinks = 40;

    /// <summary>Follows the links of a path, as far as its parts exist.</summary>
    /// <param name="path">A full path.</param>
    /// <returns>A full path; null where the links loop, or can't be read.</returns>
    public static string? Find(string path)
    {
        Stack<string> left = new();
        string at = Begin(path, left);
        int links = 0;
        while (left.TryPop(out string? part))
        {
            if (part == "..")
            {
                at = Path.GetDirectoryName(at) ?? at;
                continue;
            }

            string next = Path.Join(at, part);
            if (!TryReadLink(next, out string? target))
            {
                return null;
            }

            if (target is null)
            {
                at = next;
            }
            else if (++links > MaximumLinks)
            {
                return null;
            }
            else
            {
                at = Path.IsPathRooted(target) ? Begin(target, left) : Push(target, left, at);
            }
        }

        return at;
    }

    private static string Begin(string path, Stack<string> left)
    {
        string root = Path.GetPathRoot(path)!;
        return Push(path[root.Length..], left, root);
    }

    private static string Push(string relativePath, Stack<string> left, string at)
    {
        string[] parts = relativePath.Split([Path.DirectorySeparatorChar, Path.AltDirectorySeparatorChar]);
        foreach (string part in parts.Reverse())
        {
            if (part is not ("" or "."))
            {
                left.Push(part);
            }
        }

        return at;
    }

    private static bool TryReadLink(string path, out string? target)
    {
        try
        {
            target = new FileInfo(path).LinkTarget;
            return true;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            target = null;
            return false;
        }
    }
}
