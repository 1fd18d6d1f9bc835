// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Container;
using Fleece.Images.Journal;

namespace Fleece.Images.Chain;

/// <summary>The files that are being opened as one image, from the one a user names to its last parent.</summary>
/// <remarks>
/// <para>Every file that an image names is opened here and nowhere else: parents, data files, extents. So a chain that loops or never ends
/// is refused before it costs more than its files, and one place decides which files an image may lead to
/// (docs/formats/strangers.md).</para>
/// <para>A parent's format is the one its child records: its content is never asked, because the guest of a raw disk can write anything
/// there.</para>
/// <para>Threading. One thread opens a chain.</para>
/// </remarks>
internal sealed class ImageChain
{
    /// <summary>Most images in a chain; QEMU stops at 200.</summary>
    public const int MaximumImages = 200;

    private readonly HashSet<string> _paths =
        new(OperatingSystem.IsWindows() ? StringComparer.OrdinalIgnoreCase : StringComparer.Ordinal);

    private readonly string _path;
    private readonly Func<ImageFormat, IImageDriver> _findDriver;
    private readonly ImageHome _home;
    private readonly ReferencePolicy _policy;

    /// <summary>Begins with the image a user named.</summary>
    /// <param name="path">Full path of the image.</param>
    /// <param name="findDriver">Finds the driver of a parent's format.</param>
    /// <param name="policy">The files it may name, and its limits; null for the policy of an image that nothing is known of.</param>
    public ImageChain(string path, Func<ImageFormat, IImageDriver> findDriver, ReferencePolicy? policy = null)
    {
        _path = path;
        _findDriver = findDriver;
        _policy = policy ?? new ReferencePolicy();
        _home = new ImageHome(path);
        _paths.Add(FinalPath(path));
    }

    /// <summary>The journal of the image that the user named; null for an image that is no file of this machine.</summary>
    public JournalOpening? Journal { get; init; }

    /// <summary>A path that an image in <paramref name="childPath"/> records, in full: relative to the child's folder.</summary>
    /// <remarks>An address has no folder, so the path stays as it is recorded.</remarks>
    public static string Resolve(string childPath, string recordedPath) => IsAddress(childPath) ? recordedPath :
        Path.GetFullPath(recordedPath, Path.GetDirectoryName(Path.GetFullPath(childPath))!);

    /// <summary>Judges the image a user named, before anything is sized by its header.</summary>
    /// <exception cref="BlockException">ReferenceRefused: it is a link that leads out of its folder; LimitExceeded; why the header can't be
    /// read. The first two only for an untrusted image.</exception>
    public void AdmitFirst(IImageDriver driver, IContainerFile file)
    {
        if (_policy is { Limits: not null, IsOnNode: false } && _home.IsElsewhere)
        {
            throw new BlockException(
                ImageErrors.ReferenceRefused,
                $"'{_path}' is a symbolic link to a file in another folder, which -Untrusted does not follow. Name the file itself, if " +
                "you mean that one.",
                _path,
                operation: "open");
        }

        _policy.Admit(driver, file);
        _policy.Files?.Add(_path, isOutside: false);
    }

    /// <summary>Opens the parent of an image.</summary>
    /// <param name="childPath">The image that names it.</param>
    /// <param name="candidates">Full paths where it may be, the best first.</param>
    /// <param name="format">Its format.</param>
    /// <param name="findMismatch">Why a file is not the image that the child means, or null when it is; null where the format records
    /// no identity. The first candidate that is the right one decides: only its own parents are opened.</param>
    /// <exception cref="BlockException">NotFound: no candidate exists, or none where the chain must stay; ReferenceRefused: the image is
    /// untrusted, and the candidates that are left lie outside its folder; Corrupt: a loop, or more than <see cref="MaximumImages"/>; or
    /// why the parent can't be opened: of several wrong candidates, the first one's reason.</exception>
    public ParentImage OpenParent(
        string childPath,
        IReadOnlyList<string> candidates,
        ImageFormat format,
        Func<IContainerFile, BlockException?>? findMismatch = null)
    {
        if (_policy.IsOnNode)
        {
            throw ReferencePolicy.RefuseFromNode(childPath, candidates[0], "parent");
        }

        BlockException? refusal = null;
        BlockException? firstMismatch = null;
        foreach (string candidate in candidates)
        {
            bool isOutside = !_home.Contains(candidate);
            if (isOutside && _policy.Limits is not null)
            {
                // It is not looked at: the outcome must not tell a stranger which files exist elsewhere.
                refusal ??= ReferencePolicy.RefuseParent(childPath, candidate, _path);
                continue;
            }

            if (!File.Exists(candidate) || !IsWhereItMayBe(candidate))
            {
                continue;
            }

            if (findMismatch is null || FindMismatch(candidate, findMismatch) is not { } mismatch)
            {
                return OpenAt(candidate, childPath, format, isOutside);
            }

            firstMismatch ??= mismatch;
        }

        throw refusal ?? firstMismatch ?? new BlockException(
            BlockErrors.NotFound,
            $"The parent of '{childPath}' is not at {string.Join(" nor ", candidates.Select(candidate => $"'{candidate}'"))}" +
            (!_policy.MustStayInFolder ? ". Put it back there."
                : $", or is no regular file of the folder '{Path.GetDirectoryName(_path)}'. Put it there."),
            childPath,
            operation: "open");
    }

    private bool IsWhereItMayBe(string path) => !_policy.MustStayInFolder ||
        (Path.GetDirectoryName(path) == Path.GetDirectoryName(_path) && new FileInfo(path).LinkTarget is null);

    /// <summary>Opens the data file of an image as the image is open, with the same locks.</summary>
    /// <param name="image">The image that names it.</param>
    /// <param name="path">Full path of the data file.</param>
    /// <param name="options">How the image was opened.</param>
    /// <exception cref="BlockException">ReferenceRefused: the image may not name it; Corrupt: it is the image itself; why it can't be
    /// opened.</exception>
    public LocalContainer OpenDataFile(IContainerFile image, string path, ImageOpenOptions options)
    {
        if (_policy.IsOnNode)
        {
            throw ReferencePolicy.RefuseFromNode(image.Path, path, "data");
        }

        if (_policy.MustStayInFolder)
        {
            throw ReferencePolicy.RefuseDataFileOfRepository(image.Path, path);
        }

        if (_policy.Limits is not null)
        {
            throw ReferencePolicy.RefuseAnyDataFile(image.Path, path);
        }

        if (!_policy.AllowsOutsideDataFile && !new ImageHome(image.Path).Contains(path))
        {
            throw _policy.RefuseDataFile(image.Path, path, image.IsReadOnly);
        }

        if (FinalPath(image.Path) == FinalPath(path))
        {
            throw new BlockException(
                ImageErrors.Corrupt, $"'{image.Path}' is damaged: it names itself as its external data file.", image.Path);
        }

        return new LocalContainer(OpenNoted(image.Path, path, image.IsReadOnly, options));
    }

    /// <summary>Opens a file that holds a part of an image's disk and is only read.</summary>
    /// <param name="imagePath">The image that names it.</param>
    /// <param name="path">Full path of the file.</param>
    /// <exception cref="BlockException">ReferenceRefused: it lies outside the image's folder; why it can't be opened.</exception>
    public LocalFile OpenExtent(string imagePath, string path) =>
        _home.Contains(path) || (_policy.AllowsOutsideDataFile && _policy.Limits is null)
            ? OpenNoted(imagePath, path, isReadOnly: true, new ImageOpenOptions())
            : throw _policy.RefuseDataFile(imagePath, path, isReadOnly: true);

    private BlockException? FindMismatch(string path, Func<IContainerFile, BlockException?> findMismatch)
    {
        try
        {
            using LocalContainer file = new(LocalFile.Open(path, isReadOnly: true));
            _policy.CheckPlace?.Invoke(file.File.Place);
            return findMismatch(file);
        }
        catch (BlockException failure)
        {
            return failure;
        }
    }

    private LocalFile OpenNoted(string imagePath, string path, bool isReadOnly, ImageOpenOptions options)
    {
        try
        {
            LocalFile file = LocalFile.Open(path, isReadOnly, options.IsTransient, options.FlushFailed);
            try
            {
                _policy.CheckPlace?.Invoke(file.Place);
                if (!isReadOnly)
                {
                    SessionMarker.Check(path);
                }

                _policy.Watch?.Invoke(file);
                _policy.Files?.Add(path, !_home.Contains(path));
                if (imagePath != _path)
                {
                    _policy.Files?.AddParent(path, imagePath);
                }

                return file;
            }
            catch
            {
                file.Dispose();
                throw;
            }
        }
        catch (BlockException failure) when (failure.Kind == BlockErrors.NotFound)
        {
            throw new BlockException(
                BlockErrors.NotFound,
                $"'{imagePath}' has its data in '{path}', and that file is not there. Put it back.",
                path,
                operation: "open",
                cause: failure);
        }
    }

    private ParentImage OpenAt(string path, string childPath, ImageFormat format, bool isOutside)
    {
        if (!_paths.Add(FinalPath(path)))
        {
            throw new BlockException(
                ImageErrors.Corrupt,
                $"'{childPath}' names '{path}' as its parent, which is among its own children: the chain is a loop.",
                childPath);
        }

        if (_paths.Count > MaximumImages)
        {
            throw new BlockException(
                ImageErrors.Corrupt,
                $"'{childPath}' belongs to a chain of more than {MaximumImages} images, which is the limit. Merge some of them.",
                childPath);
        }

        LocalContainer file = new(LocalFile.Open(path, isReadOnly: true));
        try
        {
            _policy.CheckPlace?.Invoke(file.File.Place);
            _policy.Watch?.Invoke(file.File);
            IImageDriver driver = _findDriver(format);
            _policy.Admit(driver, file);
            _policy.Files?.Add(path, isOutside);
            _policy.Files?.AddParent(file.Path);
            IContainerFile view = new JournalOpening().Recover(file, format, driver.Replay);
            return new ParentImage(driver.OpenLayer(view, new ImageOpenOptions { Format = format, IsReadOnly = true }, this));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    // Full paths are rooted, and addresses are not.
    private static bool IsAddress(string path) => !Path.IsPathRooted(path) && path.Contains("://", StringComparison.Ordinal);

    private static string FinalPath(string path) => RealPath.Find(Path.GetFullPath(path)) ?? Path.GetFullPath(path);
}
