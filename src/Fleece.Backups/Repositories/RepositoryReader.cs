// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Block;

namespace Fleece.Backups.Repositories;

/// <summary>Reads the manifests of a folder, or the one of a backup that is a file of its own.</summary>
/// <remarks>Reading takes no lock and changes nothing. Threading. The static members are safe from any thread.</remarks>
internal sealed class RepositoryReader
{
    private readonly string _path;
    private readonly List<Manifest> _manifests = [];
    private readonly List<BlockException> _faults = [];
    private readonly Dictionary<Guid, Manifest> _byId = [];
    private readonly List<string> _imageNames = [];
    private (int Number, string FileName) _highest = (0, string.Empty);

    private RepositoryReader(string path) => _path = path;

    /// <summary>Reads a repository.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.NotFound"/>: there is no such folder; or what the system
    /// reports.</exception>
    public static Repository Read(string path)
    {
        RepositoryReader reader = new(Path.GetFullPath(path));
        foreach (string file in RepositoryFolder.List(reader._path))
        {
            reader.Take(file);
        }

        reader._manifests.Sort(static (left, right) => left.Number.CompareTo(right.Number));
        reader.TakeOutLostMerges();
        reader.AddContentDigests();
        return new Repository(reader._path, reader._manifests, reader._faults, reader._imageNames, reader._highest);
    }

    /// <summary>Reads a backup that is one file, with the manifest beside it.</summary>
    /// <param name="path">The image, or its manifest.</param>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupUnknown"/>: it has no manifest; or what is wrong with that.
    /// </exception>
    public static Repository ReadFile(string path)
    {
        string fullPath = Path.GetFullPath(path);
        string imagePath = File.Exists(FileManifest.PathFor(fullPath)) ? fullPath : FileManifest.ImageOf(fullPath);
        return new Repository(Path.GetDirectoryName(imagePath)!, [FileManifest.Read(imagePath)], [], [], (0, string.Empty));
    }

    /// <summary>Reads what a user's path means: a folder, a backup's file in one, or a backup that is a file of its own.</summary>
    /// <param name="path">Full path.</param>
    /// <param name="point">The one point that it means; null for a folder, which means all or the newest.</param>
    /// <exception cref="BlockException">As <see cref="Read"/>, <see cref="ReadFile"/> and <see cref="Repository.FindFile"/>.</exception>
    public static Repository ReadAny(string path, out BackupPoint? point)
    {
        point = null;
        string fullPath = Path.TrimEndingDirectorySeparator(path);
        if (!File.Exists(fullPath) && !File.Exists(FileManifest.PathFor(fullPath)))
        {
            return Read(fullPath);
        }

        string folderPath = Path.GetDirectoryName(fullPath)!;
        string fileName = Path.GetFileName(fullPath);
        bool isInRepository = RepositoryNames.TryParse(fileName, out _, out _) &&
            File.Exists(Path.Combine(folderPath, RepositoryNames.ManifestFor(fileName)));
        Repository repository = isInRepository ? Read(folderPath) : ReadFile(fullPath);
        point = isInRepository ? repository.FindFile(fileName) : repository.Points[0];
        return repository;
    }

    /// <summary>Reads once more where a point is from.</summary>
    public static Repository ReadFor(BackupPoint point) =>
        point.Manifest.IsSingleFile ? ReadFile(point.Path) : Read(point.RepositoryPath);

    private void Take(string file)
    {
        string fileName = Path.GetFileName(file);
        if (!RepositoryNames.TryParse(fileName, out int number, out bool isManifest))
        {
            return;
        }

        _highest = number > _highest.Number ? (number, fileName) : _highest;
        if (isManifest)
        {
            Add(file);
        }
        else
        {
            _imageNames.Add(fileName);
        }
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
        catch (BlockException e) when (e.Kind == BlockErrors.NotFound)
        {
            // A job that merges it out has just deleted it.
        }
        catch (BlockException e)
        {
            _faults.Add(e);
        }
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
            string path = Path.Combine(_path, manifest.ManifestName);
            if (Succession.FindFault(manifest, _byId.GetValueOrDefault(manifest.SuccessorId!.Value), children[manifest.Id]) is { } fault)
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

    // Those of older versions have none; what they show is computed in the same way, so that what is built on them holds them to it.
    private void AddContentDigests()
    {
        for (int i = 0; i < _manifests.Count; i++)
        {
            if (_manifests[i] is { ContentDigest: null } manifest)
            {
                manifest = manifest with
                {
                    ParentContentDigest = manifest.ParentId is { } parentId ? _byId.GetValueOrDefault(parentId)?.ContentDigest : null,
                };
                _manifests[i] = _byId[manifest.Id] = manifest with { ContentDigest = ContentDigest.Of(manifest) };
            }
        }
    }
}
