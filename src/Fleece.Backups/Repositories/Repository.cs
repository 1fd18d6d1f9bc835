// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Backups.Retaining;
using Fleece.Block;
using Fleece.Nbd;

namespace Fleece.Backups.Repositories;

/// <summary>A folder with the backups of one disk, as it is when it is read; or one backup that is a file of its own.</summary>
/// <remarks>
/// <para>Reading takes no lock and changes nothing, so the folder may be read-only.</para>
/// <para>Threading. Not changed once it is read.</para>
/// </remarks>
public sealed partial class Repository
{
    private static readonly StringComparison AddressComparison =
        OperatingSystem.IsWindows() ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal;

    private readonly List<Manifest> _manifests = [];
    private readonly List<BlockException> _faults = [];
    private readonly Dictionary<Guid, Manifest> _byId = [];
    private readonly List<string> _imageNames = [];
    private int _highestNumber;
    private string _highestName = string.Empty;

    private Repository(string path) => Path = path;

    /// <summary>Full path of the folder.</summary>
    public string Path { get; }

    /// <summary>The backups that can be restored, in the order of their numbers.</summary>
    public IReadOnlyList<BackupPoint> Points =>
        [.. _manifests.Where(manifest => manifest.State == PointState.Kept).Select(manifest => new BackupPoint(Path, manifest))];

    /// <summary>What was wrong with manifests that could not be read; their backups are not among the points.</summary>
    public IReadOnlyList<BlockException> Faults => _faults;

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
    /// <exception cref="BlockException"><see cref="BlockErrorKind.InvalidArgument"/>: there are no more numbers.</exception>
    internal int NextNumber => _highestNumber < RepositoryNames.MaximumNumber ? _highestNumber + 1 : throw new BlockException(
        BlockErrorKind.InvalidArgument,
        $"'{System.IO.Path.Combine(Path, _highestName)}' has the highest number that a backup can have, so the next one has none left. " +
        "Move that file out of the folder if it is no backup of the disk; otherwise name another folder, with -Full.",
        System.IO.Path.Combine(Path, _highestName));

    /// <summary>Reads a repository.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.NotFound"/>: there is no such folder; or what the system
    /// reports.</exception>
    public static Repository Read(string path)
    {
        Repository repository = new(System.IO.Path.GetFullPath(path));
        foreach (string file in RepositoryFolder.List(repository.Path))
        {
            if (!RepositoryNames.TryParse(System.IO.Path.GetFileName(file), out int number, out bool isManifest))
            {
                continue;
            }

            if (number > repository._highestNumber)
            {
                repository._highestNumber = number;
                repository._highestName = System.IO.Path.GetFileName(file);
            }

            if (isManifest)
            {
                repository.Add(file);
            }
            else
            {
                repository._imageNames.Add(System.IO.Path.GetFileName(file));
            }
        }

        repository._manifests.Sort(static (left, right) => left.Number.CompareTo(right.Number));
        repository.TakeOutLostMerges();
        repository.AddContentDigests();
        return repository;
    }

    /// <summary>Reads a backup that is one file, with the manifest beside it.</summary>
    /// <param name="path">The image, or its manifest.</param>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BackupUnknown"/>: it has no manifest; or what is wrong with that.
    /// </exception>
    public static Repository ReadFile(string path)
    {
        string fullPath = System.IO.Path.GetFullPath(path);
        string imagePath = File.Exists(FileManifest.PathFor(fullPath)) ? fullPath : FileManifest.ImageOf(fullPath);
        Repository single = new(System.IO.Path.GetDirectoryName(imagePath)!);
        Manifest manifest = FileManifest.Read(imagePath);
        single._manifests.Add(manifest);
        single._byId.Add(manifest.Id, manifest);
        return single;
    }

    /// <summary>Reads what a user's path means: a folder, a backup's file in one, or a backup that is a file of its own.</summary>
    /// <param name="path">Full path.</param>
    /// <param name="point">The one point that it means; null for a folder, which means all or the newest.</param>
    /// <exception cref="BlockException">As <see cref="Read"/>, <see cref="ReadFile"/> and <see cref="FindFile"/>.</exception>
    public static Repository ReadAny(string path, out BackupPoint? point)
    {
        point = null;
        string fullPath = System.IO.Path.TrimEndingDirectorySeparator(path);
        if (!File.Exists(fullPath) && !File.Exists(FileManifest.PathFor(fullPath)))
        {
            return Read(fullPath);
        }

        string folderPath = System.IO.Path.GetDirectoryName(fullPath)!;
        string fileName = System.IO.Path.GetFileName(fullPath);
        bool isInRepository = RepositoryNames.TryParse(fileName, out _, out _) &&
            File.Exists(System.IO.Path.Combine(folderPath, RepositoryNames.ManifestFor(fileName)));
        Repository repository = isInRepository ? Read(folderPath) : ReadFile(fullPath);
        point = isInRepository ? repository.FindFile(fileName) : repository.Points[0];
        return repository;
    }

    /// <summary>Reads once more where a point is from.</summary>
    internal static Repository ReadFor(BackupPoint point) =>
        point.Manifest.IsSingleFile ? ReadFile(point.Path) : Read(point.RepositoryPath);

    /// <summary>The newest point; with a time, the newest at or before it.</summary>
    /// <remarks>"Newest" goes by number: where a clock went back, the later backup is the newer one all the same.</remarks>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BackupUnknown"/>; or why a manifest can't be read that may describe a
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
            BlockErrorKind.BackupUnknown,
            points.Count == 0 ? $"'{Path}' holds no backup."
                : $"'{Path}' holds no backup of {at:u} or before; the oldest is of {points.Min(point => point.Instant):u}.",
            Path);
    }

    /// <summary>The point of an image file, or of its manifest.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BackupUnknown"/>, or what is wrong with its manifest.</exception>
    public BackupPoint FindFile(string fileName)
    {
        string manifestName = RepositoryNames.ManifestFor(fileName);
        return Points.FirstOrDefault(point => RepositoryNames.ManifestFor(point.Manifest.FileName) == manifestName)
            ?? throw (_faults.Find(fault => System.IO.Path.GetFileName(fault.Path) == manifestName) ?? new BlockException(
                BlockErrorKind.BackupUnknown,
                $"'{System.IO.Path.Combine(Path, fileName)}' is no backup of a repository: '{manifestName}' is not beside it, or says " +
                "that it is on its way out.",
                System.IO.Path.Combine(Path, fileName)));
    }

    /// <summary>Tells that a backup may be of another disk than the one before it; a sentence or several, null when nothing says so.
    /// </summary>
    /// <remarks>An image that was moved has another path too, and where its bitmap went with it, the backup builds on one that proves that
    /// it is the same disk.</remarks>
    public string? DescribeOtherSource(BackupPoint point)
    {
        ArgumentNullException.ThrowIfNull(point);
        return DescribeOtherSource(point.Manifest);
    }

    internal string? DescribeOtherSource(Manifest manifest)
    {
        return _manifests.FindLast(other => other.Number < manifest.Number) is { SourceAddress: { } before } last &&
            manifest.SourceAddress is { } now && AreDifferent(before, now) && !LineOf(manifest).Any(link => IsOneDisk(link, last))
            ? $"In '{Path}', the backup {manifest.Number} is of the disk at '{now}', and the backup {last.Number} before it of the one " +
              $"at '{before}'. If these are two disks, give each a repository of its own, and restore from this one by the names of " +
              "files: the newest backup is of one of them. If the image was moved, nothing is wrong."
            : null;
    }

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
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BackupChainBroken"/></exception>
    internal IReadOnlyList<Manifest> ChainOf(Manifest tip)
    {
        List<Manifest> chain = [tip];
        while (chain[^1] is { IsSingleFile: false, ParentId: { } parentId })
        {
            Manifest child = chain[^1];
            Manifest parent = Find(parentId) ?? throw new BlockException(
                BlockErrorKind.BackupChainBroken,
                $"The backup {child.Number} builds on the one of the instant {parentId}, which is not in the repository, so neither it " +
                "nor what builds on it can be restored. Put its image and its manifest back, or begin a new chain with -Full." +
                FaultHint(),
                PathOf(child));
            if (parent.Number >= child.Number || parent.SizeBytes != child.SizeBytes)
            {
                throw new BlockException(
                    BlockErrorKind.BackupChainBroken,
                    $"The backup {child.Number} of {child.SizeBytes} bytes says it builds on the backup {parent.Number} of " +
                    $"{parent.SizeBytes} bytes, which can't be. Put the manifests back as they were, or begin a new chain with -Full.",
                    PathOf(child));
            }

            if (child.ParentContentDigest is { } digest && digest != parent.ContentDigest)
            {
                throw new BlockException(
                    BlockErrorKind.BackupChainBroken,
                    $"'{PathOf(parent)}' and its manifest '{parent.ManifestName}' describe another content than the one that the " +
                    $"backup {child.Number} was made on, so they were replaced by others, such as an older copy. Put the right ones " +
                    "back, or begin a new chain with -Full.",
                    PathOf(parent));
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

    // A merge that leads nowhere can't be finished, and its backup is none any more: that is a fault of its manifest.
    private void TakeOutLostMerges()
    {
        Manifest[] leaving = [.. _manifests.Where(manifest => manifest.State != PointState.Kept)];
        if (leaving.Length == 0)
        {
            return;
        }

        ILookup<Guid?, Manifest> children = _manifests.ToLookup(manifest => manifest.ParentId);
        foreach (Manifest manifest in leaving.Reverse()) // So that a successor that is lost itself is found missing.
        {
            string path = System.IO.Path.Combine(Path, manifest.ManifestName);
            if (PointMerge.FindFault(manifest, Find(manifest.SuccessorId!.Value), children[manifest.Id]) is { } fault)
            {
                _byId.Remove(manifest.Id);
                if (File.Exists(path)) // Otherwise a job has finished the merge meanwhile.
                {
                    _faults.Add(ManifestReader.Invalid(path, fault));
                }
            }
        }

        _manifests.RemoveAll(manifest => !_byId.ContainsKey(manifest.Id));
    }

    private void Add(string file)
    {
        try
        {
            Manifest manifest = RepositoryFile.ReadManifest(file);
            if (manifest.IsSingleFile)
            {
                return; // Its image is a file of its own, whose name only looks like one of a repository's.
            }

            if (!_byId.TryAdd(manifest.Id, manifest))
            {
                throw ManifestReader.Invalid(file, $"the backup {_byId[manifest.Id].Number} has its field 'id', {manifest.Id}, too");
            }

            _manifests.Add(manifest);
        }
        catch (BlockException e) when (e.Kind == BlockErrorKind.NotFound)
        {
            // A job that merges it out has just deleted it.
        }
        catch (BlockException e)
        {
            _faults.Add(e);
        }
    }

    // Those of older versions have none; what they show is computed in the same way, so that what is built on them holds them to it.
    private void AddContentDigests()
    {
        for (int i = 0; i < _manifests.Count; i++)
        {
            if (_manifests[i] is { ContentDigest: null } manifest)
            {
                manifest = manifest with
                {
                    ParentContentDigest = manifest.ParentId is { } parentId ? Find(parentId)?.ContentDigest : null,
                };
                _manifests[i] = _byId[manifest.Id] = manifest with { ContentDigest = ContentDigest.Of(manifest) };
            }
        }
    }

    private static int NumberOf(BlockException fault) =>
        RepositoryNames.TryParse(System.IO.Path.GetFileName(fault.Path) ?? string.Empty, out int number, out _) ? number : 0;
}
