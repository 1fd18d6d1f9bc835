// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Qemu.Guests;

namespace Fleece.Qemu.Graph;

/// <summary>The file for old data of one disk, and the lock that says that the session's process lives.</summary>
/// <remarks>
/// <para>The kernel gives the lock back when the process ends, however it ends. It is one byte of the file itself, behind those that
/// QEMU locks in images (100 to 300).</para>
/// <para>Ownership. It owns the handle with the lock. The file goes when the session's nodes are gone.</para>
/// </remarks>
internal sealed class FleecingTemp : IDisposable
{
    public const string Extension = ".fleece-qemu";

    private const long OwnerByte = 1L << 40;
    private const int MaximumImageBytes = 100;

    // Below this a session would break at its first copies; better to say so before the instant.
    private const long MinimumFreeBytes = 1024 * 1024;

    private readonly FileStream _file;

    private FleecingTemp(string path, FileStream file) => (Path, _file) = (path, file);

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>The folder that it lies in.</summary>
    public string Folder => System.IO.Path.GetDirectoryName(Path)!;

    /// <summary>Makes the file, for QEMU's user, with the lock.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.AlreadyExists"/>, <see cref="BlockErrors.NoSpace"/>,
    /// <see cref="BlockErrors.InvalidArgument"/> where a folder must be named, or the reason of the system.</exception>
    public static FleecingTemp Create(FleecingRequest request, string session, int diskIndex, QemuUser user)
    {
        string path = PathOf(request, session, diskIndex);
        if (FileSystemSpace.TryGetFreeBytes(path, out long freeBytes) && freeBytes < MinimumFreeBytes)
        {
            throw new BlockException(
                BlockErrors.NoSpace,
                $"The file system of '{path}' has {freeBytes} bytes left, too few for the old data of a session. Free some, or name " +
                "another folder with -TempPath.",
                path);
        }

        FileStream? file = null;
        try
        {
            FileStreamOptions options = new()
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.ReadWrite,
                Share = FileShare.ReadWrite | FileShare.Delete,
                BufferSize = 0,
            };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            file = new FileStream(path, options);
            int errno = PosixLocks.LockByte(file.SafeFileHandle, OwnerByte);
            if (errno != 0)
            {
                throw FileErrors.FromCode(errno, path, "lock");
            }

            file.SetLength(request.Disk.Node!.SizeBytes);
            user.Own(path);
            return new FleecingTemp(path, file);
        }
        catch (Exception e)
        {
            if (file is not null)
            {
                file.Dispose();
                FileNames.Delete(path);
            }

            throw e is not BlockException && FileErrors.IsFromSystem(e) ? FileErrors.From(e, path, "create") : e;
        }
    }

    /// <summary>Whether the process that made a file still lives.</summary>
    /// <returns>Null where that can't be told: the file is gone, or this user may not open it.</returns>
    public static bool? IsOwned(string path)
    {
        try
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
            return PosixLocks.FindByteLock(file.SafeFileHandle, OwnerByte, out bool isLocked) == 0 ? isLocked : null;
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            return null;
        }
    }

    /// <summary>True for a file of a session: by its name, or where a user has named it, by the lock of a process that lives.</summary>
    public static bool IsOfSession(string path) => path.EndsWith(Extension, StringComparison.Ordinal) || IsOwned(path) == true;

    /// <summary>Removes what sessions of an image have left in a folder whose process and QEMU are both gone.</summary>
    public static void Clear(string folder, string image)
    {
        string[] files;
        try
        {
            files = Directory.GetFiles(folder, "*" + Extension);
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            return;
        }

        foreach (string path in files)
        {
            if (!System.IO.Path.GetFileName(path).StartsWith(image + ".", StringComparison.Ordinal) || IsOwned(path) != false)
            {
                continue;
            }

            try
            {
                // QEMU's own locks keep it from being opened while a QEMU uses it.
                using LocalFile file = LocalFile.Open(path, isReadOnly: false);
                FileNames.Delete(path);
            }
            catch (BlockException)
            {
                // It stays for the next session.
            }
        }
    }

    /// <summary>Gives the lock back. The file stays.</summary>
    public void Dispose() => _file.Dispose();

    private static string PathOf(FleecingRequest request, string session, int diskIndex)
    {
        QemuDisk disk = request.Disk;
        string? imagePath = disk.Node!.FilePath;
        bool isFile = System.IO.Path.IsPathRooted(imagePath) && File.Exists(imagePath);
        string image = FileNames.Shorten(
            isFile ? System.IO.Path.GetFileName(imagePath!) : disk.Device.Replace('/', '_'), MaximumImageBytes);
        if (request.TempPath is null && !isFile)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{disk.Device}' lies on '{imagePath ?? disk.Node.Driver}', beside which no file can be made. Name a folder for the " +
                "session's old data with -TempPath.",
                imagePath);
        }

        string path = System.IO.Path.GetFullPath(request.TempPath ?? System.IO.Path.GetDirectoryName(imagePath!)!);
        if (!Directory.Exists(path))
        {
            return !System.IO.Path.Exists(path) ? path : throw new BlockException(
                BlockErrors.AlreadyExists,
                $"'{path}' exists. Name a folder or a new file with -TempPath: old data would overwrite what is in it.",
                path);
        }

        Clear(path, image);
        PrivateServer.ClearFolders(path);
        return System.IO.Path.Combine(path, $"{image}.{session}-{diskIndex}{Extension}");
    }
}
