// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Backups.Repositories;

/// <summary>A repository that one job has for itself: whoever adds or removes backups holds one of these.</summary>
/// <remarks>
/// <para>The lock is on an open file, so a job that was killed leaves no lock behind. Taking it clears away what such a job has left:
/// files that never got their name, and files whose backup was given up.</para>
/// <para>Threading. One thread at a time. Ownership. Disposing gives the repository free.</para>
/// </remarks>
internal sealed class RepositoryFolder : IDisposable
{
    private readonly LocalFile _lock;
    private readonly bool _madeFolder;
    private readonly bool _madeLock;
    private bool _isDisposed;

    private RepositoryFolder(string path, LocalFile lockFile, bool madeFolder, bool madeLock)
    {
        Path = path;
        _lock = lockFile;
        _madeFolder = madeFolder;
        _madeLock = madeLock;
    }

    /// <summary>Full path of the folder.</summary>
    public string Path { get; }

    /// <summary>A sentence about a backup that a killed job had begun, and whose file was removed; null for none.</summary>
    public string? InterruptedNote { get; private set; }

    /// <summary>Takes a repository, which is made when it is not there; its parent folder must be.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.RepositoryBusy"/>, <see cref="BlockErrors.NotFound"/>,
    /// <see cref="BlockErrors.Unsupported"/> for one of a newer version, or the error of the system.</exception>
    public static RepositoryFolder Take(string path)
    {
        string fullPath = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(path));
        bool madeFolder = Make(fullPath);
        RepositoryFolder? folder = null;
        try
        {
            (LocalFile lockFile, bool madeLock) = OpenLock(fullPath);
            folder = new RepositoryFolder(fullPath, lockFile, madeFolder, madeLock);
            _ = RepositoryIdentity.Read(lockFile, out _); // A repository of a newer version is not changed.
            folder.ClearAway();
            return folder;
        }
        catch
        {
            folder?.Dispose();
            if (madeFolder)
            {
                TryRemove(Directory.Delete, fullPath);
            }

            throw;
        }
    }

    /// <summary>The file that is locked, which also holds the repository's identity.</summary>
    internal LocalFile Lock => _lock;

    /// <summary>Tells tests how far a change of the repository has come, so that they can end it there.</summary>
    internal Action<string>? Reached { get; set; }

    /// <summary>Reads what is in it now.</summary>
    public Repository Read() => RepositoryReader.Read(Path);

    /// <summary>Gives the repository free. Where it was made here and nothing was stored, nothing of it stays.</summary>
    /// <remarks>The folder may be one in the mount point of a volume that is not mounted, and would hide that the next time.</remarks>
    public void Dispose()
    {
        if (_isDisposed)
        {
            return;
        }

        _isDisposed = true;
        bool mustGo = _madeLock && IsUnused();
        if (mustGo && !OperatingSystem.IsWindows())
        {
            TryRemove(File.Delete, _lock.Path); // While it is held, so that no other job has it by then.
        }

        _lock.Dispose();
        if (mustGo && OperatingSystem.IsWindows())
        {
            TryRemove(File.Delete, _lock.Path);
        }

        if (mustGo && _madeFolder)
        {
            TryRemove(Directory.Delete, Path);
        }
    }

    /// <summary>The files of a folder.</summary>
    internal static string[] List(string path)
    {
        try
        {
            return Directory.GetFiles(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            bool isMissing = e is not UnauthorizedAccessException && !Directory.Exists(path);
            throw new BlockException(
                isMissing ? BlockErrors.NotFound
                    : e is UnauthorizedAccessException ? BlockErrors.PermissionDenied
                    : BlockErrors.IoFailed,
                isMissing ? $"There is no repository, and no backup, '{path}'." : $"The repository '{path}' can't be read: {e.Message}",
                path,
                operation: "open",
                cause: e);
        }
    }

    /// <summary>Takes a backup out that nothing builds on. A run that is killed meanwhile leaves it to the next one.</summary>
    internal void Remove(Manifest manifest)
    {
        string manifestPath = InFolder(RepositoryNames.ManifestFor(manifest.FileName));
        string partialPath = manifestPath + RepositoryNames.Partial;
        FileNames.Move(manifestPath, partialPath, overwrite: true);
        Reached?.Invoke("given up");
        FileNames.Delete(InFolder(manifest.FileName));
        Reached?.Invoke("removed");
        FileNames.Delete(partialPath);
    }

    internal string InFolder(string fileName) => System.IO.Path.Combine(Path, fileName);

    // An identity in the lock names a bitmap that the disk has by now.
    private bool IsUnused()
    {
        try
        {
            return _lock.LengthBytes == 0 && Directory.EnumerateFileSystemEntries(Path).Take(2).Count() == 1;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or BlockException)
        {
            return false;
        }
    }

    private static void TryRemove(Action<string> remove, string path)
    {
        try
        {
            remove(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Another job was faster and uses it, or the storage is gone; the failure that led here says more.
        }
    }

    private static bool Make(string path)
    {
        if (File.Exists(path))
        {
            throw new BlockException(BlockErrors.AlreadyExists, $"'{path}' is a file; a repository is a folder.", path);
        }

        if (!Directory.Exists(path) && !Directory.Exists(System.IO.Path.GetDirectoryName(path)))
        {
            throw new BlockException(
                BlockErrors.NotFound,
                $"Cannot make the repository '{path}': the folder that is to hold it does not exist. Check the path, and whether its " +
                "volume is mounted.",
                path,
                operation: "create");
        }

        try
        {
            bool isThere = Directory.Exists(path);
            Directory.CreateDirectory(path);
            return !isThere;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BlockException(
                e is UnauthorizedAccessException ? BlockErrors.PermissionDenied : BlockErrors.IoFailed,
                $"Cannot make the repository '{path}': {e.Message}",
                path,
                operation: "create",
                cause: e);
        }
    }

    private static (LocalFile Lock, bool IsNew) OpenLock(string path)
    {
        string lockPath = System.IO.Path.Combine(path, RepositoryNames.Lock);
        bool isNew = false;
        if (!File.Exists(lockPath))
        {
            try
            {
                LocalFile.Create(lockPath, 0).Dispose();
                isNew = true;
            }
            catch (BlockException e) when (e.Kind == BlockErrors.AlreadyExists)
            {
                // Another job was faster; whose it is comes out below.
            }
        }

        try
        {
            LocalFile opened = RepositoryFile.Open(lockPath, isReadOnly: false);
            if (opened.HasItsName)
            {
                return (opened, isNew);
            }

            // A job that failed has removed it just now, and others may hold a new one.
            opened.Dispose();
            throw Busy(path, cause: null);
        }
        catch (BlockException e) when (e.Kind == BlockErrors.InUse)
        {
            throw Busy(path, e);
        }
    }

    private static BlockException Busy(string path, BlockException? cause)
    {
        // Found where this user may look into the other process.
        string holder = LockHolders.FindProcess(System.IO.Path.Combine(path, RepositoryNames.Lock)) is { } processId
            ? $" (process {processId})"
            : string.Empty;
        return new BlockException(
            BackupErrors.RepositoryBusy,
            $"Another job{holder} works in the repository '{path}'. Wait until it has ended, or give each job a repository of its own.",
            path,
            cause: cause);
    }

    // The order in which backups come and go makes this safe: a manifest that has its full name has an image that has, and an image
    // whose manifest has only the partial name belongs to no backup.
    private void ClearAway()
    {
        foreach (string file in List(Path).Where(file => file.EndsWith(RepositoryNames.Partial, StringComparison.Ordinal)))
        {
            string path = file[..^RepositoryNames.Partial.Length];
            if (!RepositoryNames.TryParse(System.IO.Path.GetFileName(path), out _, out bool isManifest))
            {
                continue;
            }

            if (isManifest && !File.Exists(path))
            {
                RemoveImageOf(file);
            }

            if (!isManifest && new FileInfo(file) is { Exists: true, LinkTarget: null } partial)
            {
                InterruptedNote = FormattableString.Invariant(
                    $"A backup into '{Path}' was interrupted: its job was killed. What it had stored, {partial.Length} bytes in ") +
                    $"'{partial.Name}', is removed, and the next backup begins again.";
            }

            FileNames.Delete(file);
        }
    }

    private void RemoveImageOf(string partialManifestPath)
    {
        try
        {
            FileNames.Delete(InFolder(RepositoryFile.ReadManifest(partialManifestPath).FileName));
        }
        catch (BlockException e) when (e.Kind is BackupErrors.ManifestInvalid or BlockErrors.NotAFile)
        {
            // Half written, or of no job, so its image never got its name.
        }
    }
}
