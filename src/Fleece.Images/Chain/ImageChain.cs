// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Container;

namespace Fleece.Images.Chain;

/// <summary>The files that are being opened as one chain, from the one a user names to its last parent.</summary>
/// <remarks>
/// <para>Parents are opened here and nowhere else, so a chain that loops or never ends is refused before it costs more than its
/// files. A parent's format is the one its child records: its content is never asked, because the guest of a raw disk can write
/// anything there.</para>
/// <para>Threading. One thread opens a chain.</para>
/// </remarks>
internal sealed class ImageChain
{
    /// <summary>Most images in a chain; QEMU stops at 200.</summary>
    public const int MaximumImages = 200;

    private readonly HashSet<string> _paths =
        new(OperatingSystem.IsWindows() ? StringComparer.OrdinalIgnoreCase : StringComparer.Ordinal);

    private readonly string? _onlyFolderPath;

    /// <summary>Begins with the image a user named.</summary>
    /// <param name="path">The image.</param>
    /// <param name="mustStayInFolder">True for a chain whose parents are regular files of that image's folder, and no others.</param>
    public ImageChain(string path, bool mustStayInFolder = false)
    {
        _paths.Add(FinalPath(path));
        _onlyFolderPath = mustStayInFolder ? Path.GetDirectoryName(Path.GetFullPath(path)) : null;
    }

    /// <summary>A path that an image in <paramref name="childPath"/> records, in full: relative to the child's folder.</summary>
    public static string Resolve(string childPath, string recordedPath) =>
        Path.GetFullPath(recordedPath, Path.GetDirectoryName(Path.GetFullPath(childPath))!);

    /// <summary>Opens the parent of an image.</summary>
    /// <param name="childPath">The image that names it.</param>
    /// <param name="candidates">Full paths where it may be, the best first.</param>
    /// <param name="format">Its format.</param>
    /// <param name="findMismatch">Why a file is not the image that the child means, or null when it is; null where the format records
    /// no identity. The first candidate that is the right one decides: only its own parents are opened.</param>
    /// <exception cref="BlockException">NotFound: no candidate exists, or none where the chain must stay; Corrupt: a loop, or more than
    /// <see cref="MaximumImages"/>; or why the parent can't be opened: of several wrong candidates, the first one's reason.</exception>
    public ParentImage OpenParent(
        string childPath,
        IReadOnlyList<string> candidates,
        ImageFormat format,
        Func<IContainerFile, BlockException?>? findMismatch = null)
    {
        BlockException? firstMismatch = null;
        foreach (string candidate in candidates)
        {
            if (!File.Exists(candidate) || !IsWhereItMayBe(candidate))
            {
                continue;
            }

            if (findMismatch is null || FindMismatch(candidate, findMismatch) is not { } mismatch)
            {
                return OpenAt(candidate, childPath, format);
            }

            firstMismatch ??= mismatch;
        }

        throw firstMismatch ?? new BlockException(
            BlockErrorKind.NotFound,
            $"The parent of '{childPath}' is not at {string.Join(" nor ", candidates.Select(candidate => $"'{candidate}'"))}" +
            (_onlyFolderPath is null ? ". Put it back there."
                : $", or is no regular file of the folder '{_onlyFolderPath}'. Put it there."),
            childPath,
            operation: "open");
    }

    private bool IsWhereItMayBe(string path) => _onlyFolderPath is null ||
        (Path.GetDirectoryName(path) == _onlyFolderPath && new FileInfo(path).LinkTarget is null);

    private static BlockException? FindMismatch(string path, Func<IContainerFile, BlockException?> findMismatch)
    {
        try
        {
            using LocalContainer file = new(LocalFile.Open(path, isReadOnly: true));
            return findMismatch(file);
        }
        catch (BlockException failure)
        {
            return failure;
        }
    }

    private ParentImage OpenAt(string path, string childPath, ImageFormat format)
    {
        if (!_paths.Add(FinalPath(path)))
        {
            throw new BlockException(
                BlockErrorKind.Corrupt,
                $"'{childPath}' names '{path}' as its parent, which is among its own children: the chain is a loop.",
                childPath);
        }

        if (_paths.Count > MaximumImages)
        {
            throw new BlockException(
                BlockErrorKind.Corrupt,
                $"'{childPath}' belongs to a chain of more than {MaximumImages} images, which is the limit. Merge some of them.",
                childPath);
        }

        LocalContainer file = new(LocalFile.Open(path, isReadOnly: true));
        try
        {
            IImageDriver driver = ImageDrivers.Find(format);
            ImageOpenOptions options = new() { Format = format, IsReadOnly = true, MustStayInFolder = _onlyFolderPath is not null };
            return new ParentImage(driver.OpenLayer(file, options, this));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    // An image that is being made does not exist yet.
    private static string FinalPath(string path) =>
        (File.Exists(path) ? File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName : null) ?? Path.GetFullPath(path);
}
