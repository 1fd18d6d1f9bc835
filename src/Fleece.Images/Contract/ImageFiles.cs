// SPDX-License-Identifier: MIT
using Fleece.Block.Files;

namespace Fleece.Images;

/// <summary>The files an image was opened with: itself, its chain of parents, and their data files.</summary>
/// <remarks>Threading. Filled by the thread that opens the image; read when it is open.</remarks>
internal sealed class ImageFiles
{
    private readonly List<string> _outside = [];
    private readonly List<(string Path, string? DataOf)> _parents = [];

    /// <summary>Full paths of the parents, nearest first, and of files that have a parent's data: with them is the path of that parent, and
    /// null with a parent.</summary>
    public IReadOnlyList<(string Path, string? DataOf)> Parents => _parents;

    /// <summary>Full paths of the files outside the image's folder, each once, nearest first.</summary>
    public IReadOnlyList<string> Outside => _outside;

    /// <summary>Storage that all of the files take, in bytes.</summary>
    public long StoredBytes { get; private set; }

    /// <summary>The files outside as a sentence for the user; null when there are none.</summary>
    public string? OutsideNote => _outside.Count == 0
        ? null
        : $"The image names files outside its folder: {string.Join(", ", _outside.Select(path => $"'{path}'"))}. Their content shows " +
          "through the disk. If you do not know who made the image, open it with -Untrusted, which refuses them.";

    /// <summary>Adds a file that was opened.</summary>
    internal void Add(string path, bool isOutside)
    {
        StoredBytes += FileSystemSpace.TryGetAllocatedBytes(path, out long bytes) ? bytes : 0;
        if (isOutside && !_outside.Contains(path))
        {
            _outside.Add(path);
        }
    }

    /// <summary>Adds a parent, or a file that has a parent's data.</summary>
    internal void AddParent(string path, string? dataOf = null) => _parents.Add((path, dataOf));
}
