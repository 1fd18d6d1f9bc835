// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd;

namespace Fleece.Hosting.Paths;

/// <summary>The folders in which the host opens and makes files for its clients.</summary>
/// <remarks>A path counts as the place that it leads to when it is checked. A user who can change folders on the way can lead the host
/// elsewhere afterwards, so each file of an image, and of a session's temp image, is checked again when it is open. For sockets and
/// certificates the system's permissions and the unit's ReadWritePaths are the bounds then.</remarks>
internal sealed class AllowedFolders
{
    // As the kernel follows; path_resolution(7).
    private const int MaximumLinks = 40;

    private readonly string[] _folders;

    /// <summary>Takes the folders.</summary>
    /// <param name="folders">Absolute paths; none for all folders.</param>
    /// <exception cref="BlockException"><see cref="HostErrors.PathRefused"/>: one of them is not absolute.</exception>
    public AllowedFolders(IReadOnlyList<string> folders) => _folders = [.. folders.Select(folder => WithSlash(Resolve(CheckForm(folder))))];

    /// <summary>Refuses the path of a file that the host may not open.</summary>
    /// <exception cref="BlockException"><see cref="HostErrors.PathRefused"/></exception>
    public void Check(string path)
    {
        CheckForm(path);
        if (_folders.Length == 0)
        {
            return;
        }

        // Files beside an image, as its bitmaps' are, lie beside the name that was given and not beside the place that a link leads to.
        CheckInside(path, Resolve(path));
        CheckInside(path, Resolve(Path.GetDirectoryName(path) ?? path));
    }

    /// <summary>As <see cref="Check"/>, for an image's path or an NBD URI, of which the path of a unix socket is checked.</summary>
    /// <inheritdoc cref="Check" path="/exception"/>
    public void CheckAddress(string address)
    {
        if (!NbdUri.IsUri(address))
        {
            Check(address);
        }
        else if (NbdUri.Parse(address).SocketPath is { } socket)
        {
            Check(socket);
        }
    }

    /// <summary>Refuses a file that is open and lies where the host may not open any.</summary>
    /// <param name="place">Its full path with all links followed.</param>
    /// <inheritdoc cref="Check" path="/exception"/>
    public void CheckPlace(string place)
    {
        if (_folders.Length != 0)
        {
            CheckInside(place, place);
        }
    }

    private static string CheckForm(string path)
    {
        if (!Path.IsPathFullyQualified(path) || path.Contains('\0') || path.Split('/').Any(name => name is "." or ".."))
        {
            throw new BlockException(
                HostErrors.PathRefused,
                $"The Fleece host takes absolute paths without '.' and '..', and '{path}' is none. Give the full path.",
                path);
        }

        return path;
    }

    // The place that a path leads to; names that do not exist stay as they are.
    private static string Resolve(string path)
    {
        string at = "/";
        Stack<string> names = new(path.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse());
        int links = 0;
        while (names.TryPop(out string? name))
        {
            if (name == "..")
            {
                at = Path.GetDirectoryName(at) ?? "/";
                continue;
            }

            string next = Path.Combine(at, name);
            if (name == "." || new FileInfo(next).LinkTarget is not { } target)
            {
                at = name == "." ? at : next;
                continue;
            }

            if (++links > MaximumLinks)
            {
                throw new BlockException(
                    HostErrors.PathRefused, $"The symbolic links of '{path}' lead in a circle, or are too many.", path);
            }

            at = target.StartsWith('/') ? "/" : at;
            foreach (string part in target.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse())
            {
                names.Push(part);
            }
        }

        return at;
    }

    private static string WithSlash(string folder) => folder.EndsWith('/') ? folder : folder + "/";

    private void CheckInside(string path, string place)
    {
        string withSlash = WithSlash(place);
        if (!Array.Exists(_folders, folder => withSlash.StartsWith(folder, StringComparison.Ordinal)))
        {
            throw new BlockException(
                HostErrors.PathRefused,
                $"'{path}' lies outside the folders that the Fleece host was given" +
                $"{(path == place ? string.Empty : $", in '{place}'")}: {string.Join(", ", _folders.Select(folder => $"'{folder}'"))}. " +
                "Move it there, or start the host with its folder among -AllowedPath.",
                path);
        }
    }
}
