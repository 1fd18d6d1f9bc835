// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Block;
using Fleece.Nbd;

namespace Fleece.Backups.Repositories;

/// <summary>A folder with the backups of one disk, as it is when it is read; or one backup that is a file of its own.</summary>
/// <remarks>
/// <para>Reading takes no lock and changes nothing, so the folder may be read-only.</para>
/// <para>Threading. Not changed once it is read.</para>
/// </remarks>
internal sealed class Repository
{
    private static readonly StringComparison AddressComparison =
        OperatingSystem.IsWindows() ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal;

    private readonly List<Manifest> _manifests;
    private readonly List<BlockException> _faults;
    private readonly Dictionary<Guid, Manifest> _byId;
    private readonly List<string> _imageNames;
    private readonly int _highestNumber;
    private readonly string _highestName;

    /// <summary>What <see cref="RepositoryReader"/> has found.</summary>
    /// <param name="path">Full path of the folder.</param>
    /// <param name="manifests">In the order of their numbers; no two have one identity.</param>
    /// <param name="faults">What was wrong with the others.</param>
    /// <param name="imageNames">Images that are named as those of backups.</param>
    /// <param name="highest">The file with the highest number.</param>
    internal Repository(
        string path,
        List<Manifest> manifests,
        List<BlockException> faults,
        List<string> imageNames,
        (int Number, string FileName) highest)
    {
        Path = path;
        _manifests = manifests;
        _faults = faults;
        _imageNames = imageNames;
        (_highestNumber, _highestName) = highest;
        _byId = manifests.ToDictionary(manifest => manifest.Id);
        Images = new RepositoryImages(this);
    }

    /// <summary>Full path of the folder.</summary>
    public string Path { get; }

    /// <summary>The backups that can be restored, in the order of their numbers.</summary>
    public IReadOnlyList<BackupPoint> Points =>
        [.. _manifests.Where(manifest => manifest.State == PointState.Kept).Select(manifest => new BackupPoint(Path, manifest))];

    /// <summary>What was wrong with manifests that could not be read; their backups are not among the points.</summary>
    public IReadOnlyList<BlockException> Faults => _faults;

    /// <summary>The images of its backups.</summary>
    internal RepositoryImages Images { get; }

    /// <summary>All that can be read, on their way out or not.</summary>
    internal IReadOnlyList<Manifest> Manifests => _manifests;

    /// <summary>Images that lie in the folder without the manifest that would make them backups; full paths.</summary>
    public IReadOnlyList<string> Strays => [.. _imageNames.Where(IsStray).Select(name => System.IO.Path.Combine(Path, name))];

    /// <summary>What to tell of <see cref="Strays"/>; whole sentences, null when there are none.</summary>
    public string? DescribeStrays() => Strays is not [var first, ..] strays ? null
        : $"'{first}' lies there without its manifest '{RepositoryNames.ManifestFor(System.IO.Path.GetFileName(first))}', so it is no " +
          "backup. Put the manifest back; or move the image away, if no other image names it as its parent." +
          (strays.Count == 1 ? string.Empty : $" There are {strays.Count} such images.");

    /// <summary>The number of the next backup: behind every one there is a file of, because a manifest may be put back beside its image.
    /// </summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: there are no more numbers.</exception>
    internal int NextNumber => _highestNumber < RepositoryNames.MaximumNumber ? _highestNumber + 1 : throw new BlockException(
        BlockErrors.InvalidArgument,
        $"'{System.IO.Path.Combine(Path, _highestName)}' has the highest number that a backup can have, so the next one has none left. " +
        "Move that file out of the folder if it is no backup of the disk; otherwise name another folder, with -Full.",
        System.IO.Path.Combine(Path, _highestName));

    /// <summary>The newest point; with a time, the newest at or before it.</summary>
    /// <remarks>"Newest" goes by number: where a clock went back, the later backup is the newer one all the same.</remarks>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupUnknown"/>; or why a manifest can't be read that may describe a
    /// newer one, for which an older one is no substitute.</exception>
    public BackupPoint FindNewest(DateTimeOffset? at)
    {
        IReadOnlyList<BackupPoint> points = Points;
        BackupPoint? newest = points.LastOrDefault(point => at is null || point.Instant <= at);
        int next = points.FirstOrDefault(point => point.Number > (newest?.Number ?? 0))?.Number ?? int.MaxValue;
        if (_faults.Find(fault => NumberOf(fault) is var number && number > (newest?.Number ?? 0) && number < next) is { } unknown)
        {
            throw new BlockException(
                unknown.Kind,
                $"{unknown.Message} It may describe the backup that is wanted" +
                (newest is null ? "." : $"; to have the one before, name its file, '{newest.Path}'."),
                unknown.Path);
        }

        return newest ?? throw new BlockException(
            BackupErrors.BackupUnknown,
            points.Count == 0
                ? NestedRepositories.Describe(Path) is { } hint ? $"'{Path}' holds no backup. {hint}" : $"'{Path}' holds no backup."
                : $"'{Path}' holds no backup of {at:u} or before; the oldest is of {points.Min(point => point.Instant):u}.",
            Path);
    }

    /// <summary>The point of an image file, or of its manifest.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupUnknown"/>, or what is wrong with its manifest.</exception>
    public BackupPoint FindFile(string fileName)
    {
        string manifestName = RepositoryNames.ManifestFor(fileName);
        return Points.FirstOrDefault(point => RepositoryNames.ManifestFor(point.Manifest.FileName) == manifestName)
            ?? throw (_faults.Find(fault => System.IO.Path.GetFileName(fault.Path) == manifestName) ?? new BlockException(
                BackupErrors.BackupUnknown,
                $"'{System.IO.Path.Combine(Path, fileName)}' is no backup of a repository: '{manifestName}' is not beside it, or says " +
                "that it is on its way out.",
                System.IO.Path.Combine(Path, fileName)));
    }

    /// <summary>Tells that a backup may be of another disk than the one before it; a sentence or several, null when nothing says so.
    /// </summary>
    /// <remarks>An image that was moved has another path too, and where its bitmap went with it, the backup builds on one that proves that
    /// it is the same disk.</remarks>
    internal string? DescribeOtherSource(Manifest manifest) =>
        _manifests.FindLast(other => other.Number < manifest.Number) is { SourceAddress: { } before } last &&
            manifest.SourceAddress is { } now && AreDifferent(before, now) && !LineOf(manifest).Any(link => IsOneDisk(link, last))
            ? $"In '{Path}', the backup {manifest.Number} is of the disk at '{now}', and the backup {last.Number} before it of the one " +
              $"at '{before}'. If these are two disks, give each a repository of its own, and restore from this one by the names of " +
              "files: the newest backup is of one of them. If the image was moved, nothing is wrong."
            : null;

    // A path and a URI say nothing about each other: one disk has both, in the process that serves it and in those that read there.
    private static bool AreDifferent(string before, string now) =>
        NbdUri.IsUri(before) == NbdUri.IsUri(now) && !string.Equals(before, now, AddressComparison);

    private static bool IsOneDisk(Manifest link, Manifest other) =>
        link.Id == other.Id || string.Equals(link.SourceAddress, other.SourceAddress, AddressComparison);

    // The backups that another builds on are of the same disk, wherever that was at the time.
    private IEnumerable<Manifest> LineOf(Manifest tip)
    {
        for (Manifest child = tip; child.ParentId is { } id && Find(id) is { } parent && parent.Number < child.Number; child = parent)
        {
            yield return parent;
        }
    }

    /// <summary>The backup of an instant; null when it is not here.</summary>
    internal Manifest? Find(Guid id) => _byId.GetValueOrDefault(id);

    /// <summary>A backup and those it builds on, down to the full one.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupChainBroken"/></exception>
    internal IReadOnlyList<Manifest> ChainOf(Manifest tip)
    {
        List<Manifest> chain = [tip];
        while (chain[^1] is { IsSingleFile: false, ParentId: { } parentId })
        {
            Manifest child = chain[^1];
            Manifest parent = Find(parentId) ?? throw new BlockException(
                BackupErrors.BackupChainBroken,
                $"The backup {child.Number} builds on the one of the instant {parentId}, which is not in the repository, so neither it " +
                "nor what builds on it can be restored. Put its image and its manifest back, or begin a new chain with -Full." +
                FaultHint(),
                Images.PathOf(child));
            if (parent.Number >= child.Number || parent.SizeBytes != child.SizeBytes)
            {
                throw new BlockException(
                    BackupErrors.BackupChainBroken,
                    $"The backup {child.Number} of {child.SizeBytes} bytes says it builds on the backup {parent.Number} of " +
                    $"{parent.SizeBytes} bytes, which can't be. Put the manifests back as they were, or begin a new chain with -Full.",
                    Images.PathOf(child));
            }

            if (child.ParentContentDigest is { } digest && digest != parent.ContentDigest)
            {
                throw new BlockException(
                    BackupErrors.BackupChainBroken,
                    $"'{Images.PathOf(parent)}' and its manifest '{parent.ManifestName}' describe another content than the one that the " +
                    $"backup {child.Number} was made on, so they were replaced by others, such as an older copy. Put the right ones " +
                    "back, or begin a new chain with -Full.",
                    Images.PathOf(parent));
            }

            chain.Add(parent);
        }

        return chain;
    }

    /// <summary>A sentence about a manifest that can't be read, for a message about a backup that is not found; empty when all can.
    /// </summary>
    internal string FaultHint() => _faults.Count == 0 ? string.Empty
        : $" Its manifest may be '{_faults[0].Path}', which can't be used; Get-FleeceBackup says why.";

    /// <summary>A backup that a job has begun to take out; null for none.</summary>
    internal Manifest? FindLeaving() => _manifests.Find(manifest => manifest.State != PointState.Kept);

    /// <summary>Backups that build on another one directly.</summary>
    internal IEnumerable<Manifest> ChildrenOf(Guid id) => _manifests.Where(manifest => manifest.ParentId == id);

    private bool IsStray(string imageName)
    {
        string manifestPath = System.IO.Path.Combine(Path, RepositoryNames.ManifestFor(imageName));
        return !File.Exists(manifestPath) && !File.Exists(manifestPath + RepositoryNames.Partial) &&
            !File.Exists(FileManifest.PathFor(System.IO.Path.Combine(Path, imageName)));
    }

    private static int NumberOf(BlockException fault) =>
        RepositoryNames.TryParse(System.IO.Path.GetFileName(fault.Path) ?? string.Empty, out int number, out _) ? number : 0;
}
