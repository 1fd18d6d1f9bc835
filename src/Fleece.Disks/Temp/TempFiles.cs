// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Text;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks.Storage;

namespace Fleece.Disks.Temp;

/// <summary>Temp files that Fleece names itself: IMAGE.SESSION.ID.fleece-temp, beside the image or in the folder of -TempPath;
/// .fleece-kept-temp for a session that can outlive its process. For a disk on a server IMAGE is the disk's name.</summary>
/// <remarks>
/// A killed process leaves its temp files behind. Each has a name of its own, so none is in the way; but they hold the disk's old data
/// and take its room. One that no session can come back for is of no use without a lock, and is cleared away. One of a session that can
/// has another extension and never counts as litter, whatever became of the session: the session's log, or its user, says when it goes.
/// </remarks>
internal static class TempFiles
{
    private const string KeptExtension = ".fleece-kept-temp";
    private const string Extension = ".fleece-temp";
    private const int IdLength = 32;
    private const int HashDigits = 8;
    private const long MinimumFreeBytes = 1024 * 1024;
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    // chmod(2): the permissions of all, without set-user-id and its like.
    private const int PermissionMask = 0x1FF;

    // The disk's part and the session's of a name; with the dots, the id and the extension 251 bytes at most.
    private const int MaximumPartBytes = 100;

    /// <summary>A name that no other session has. It fits into a file system whatever the disk and the session are called.</summary>
    public static string NewFile(string folder, DiskStorage disk, string sessionName) => Path.Combine(
        folder, $"{Shorten(ImageOf(disk))}.{FileNames.Shorten(sessionName, MaximumPartBytes)}.{Guid.NewGuid():N}{Extension}");

    /// <summary>True for the name of a file that is litter once no process uses it.</summary>
    public static bool IsLitterName(string path) => path.EndsWith(Extension, StringComparison.Ordinal);

    /// <summary>The name of a file that a session has made, once its log names it: it ends with the log's id, so that a log can claim no
    /// other file as the session's own.</summary>
    /// <param name="path">The file as it is called until then, or as the user has named it.</param>
    /// <param name="logId">The id of the log.</param>
    public static string KeptName(string path, Guid logId)
    {
        string name = Path.GetFileName(path);
        string end = KeptEnd(logId);
        string start = IsLitterName(path) ? name[..^(Extension.Length + IdLength + 1)] : name;
        return Path.Combine(Path.GetDirectoryName(path)!, FileNames.Shorten(start, FileNames.MaximumBytes - end.Length) + end);
    }

    /// <summary>Why a file is not taken for the one that a session has made, so that it is neither written to nor deleted, as a part of a
    /// sentence; null when it is that file, or is not there.</summary>
    /// <remarks>A log that others have written may name any file.</remarks>
    public static string? FindOwnFault(string path, Guid logId)
    {
        if (!path.EndsWith(KeptEnd(logId), StringComparison.Ordinal))
        {
            return $"its name does not end with '{KeptEnd(logId)}'";
        }

        return !OperatingSystem.IsLinux() || !PosixStat.TryLook(path, out PosixStat.FileLook look) ? null
            : !look.IsRegular ? "it is a link, or no regular file"
            : look.NameCount != 1 ? "it has several names"
            : look.UserId != PosixStat.UserId ? $"it belongs to the user {look.UserId}"
            : (look.Mode & PermissionMask) != (int)OwnerOnly ? "others than its owner have rights to it"
            : null;
    }

    /// <summary>Tells the user of the old data of a session whose log says no more where it is; a whole sentence.</summary>
    /// <param name="folder">The folder of the image.</param>
    /// <param name="logId">The id of the log.</param>
    public static string TellOrphan(string? folder, Guid logId) => FindOrphan(folder, logId) is { } file
        ? $"Its old data, '{file}', is of no use any more and can be deleted by hand."
        : $"Its old data, in a file beside the image or in the folder of -TempPath whose name ends with '{KeptEnd(logId)}', is of no " +
            "use any more and can be deleted by hand.";

    /// <summary>The file in a folder that the session of a log has made; null for none.</summary>
    public static string? FindOrphan(string? folder, Guid logId)
    {
        try
        {
            return folder is null ? null : Directory.EnumerateFiles(folder, "*" + KeptEnd(logId)).FirstOrDefault();
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            return null;
        }
    }

    /// <summary>The files in a folder that sessions of an image have made which were to outlive their process, with the ids of their logs.
    /// </summary>
    /// <remarks>A name with a further dot may be of an image whose name only begins alike, and is left out.</remarks>
    public static IEnumerable<(string File, Guid LogId)> FindKept(string folder, string imageName)
    {
        string start = $"{Shorten(imageName)}.";
        foreach (string file in Directory.EnumerateFiles(folder, "*" + KeptExtension))
        {
            string[] rest = Path.GetFileName(file) is var name && name.StartsWith(start, StringComparison.Ordinal)
                ? name[start.Length..^KeptExtension.Length].Split('.')
                : [];
            if (rest.Length == 2 && Guid.TryParseExact(rest[1], "N", out Guid logId))
            {
                yield return (file, logId);
            }
        }
    }

    private static string KeptEnd(Guid logId) => $".{logId:N}{KeptExtension}";

    /// <summary>Refuses a place without room for the first copies: better before the instant is promised.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.NoSpace"/></exception>
    public static void CheckFreeSpace(string path)
    {
        if (FileSystemSpace.TryGetFreeBytes(path, out long freeBytes) && freeBytes < MinimumFreeBytes)
        {
            throw new BlockException(
                BlockErrors.NoSpace,
                $"The file system for the temp image '{path}' has only {freeBytes} bytes free. Free some space, or name " +
                "another place with -TempPath.",
                path,
                operation: "create");
        }
    }

    /// <summary>Keeps others from the old data of the guest, wherever the file lies; the image's own permissions may be stricter than the
    /// folder's.</summary>
    public static void KeepPrivate(string path)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, OwnerOnly);
        }
    }

    /// <summary>Removes what killed processes have left of a disk's sessions.</summary>
    /// <returns>A sentence for each file that is still there and that no process seems to use.</returns>
    public static IReadOnlyList<string> Clear(string folder, DiskStorage disk)
    {
        string[] files;
        try
        {
            files = Directory.GetFiles(folder, "*" + Extension);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }

        string image = ImageOf(disk);
        string[] prefixes = [$"{image}.", $"{Shorten(image)}."];
        return
        [
            .. from file in files
               where Array.Exists(prefixes, prefix => IsTemp(Path.GetFileName(file), prefix))
               let reason = LeftFile.Remove(file)
               where reason is not null
               select $"'{file}' looks like old data of a session whose process was killed, and could not be removed. " +
                   $"{reason.TrimEnd('.')}. Delete it when no session uses it.",
        ];
    }

    private static string ImageOf(DiskStorage disk) => disk.IsExport ? disk.Name : Path.GetFileName(disk.Path);

    // The same for each session of a disk, and another one for a disk whose name only begins alike.
    private static string Shorten(string image) => Encoding.UTF8.GetByteCount(image) <= MaximumPartBytes ? image
        : FileNames.Shorten(image, MaximumPartBytes - 1 - HashDigits) + "~" +
          Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(image)))[..HashDigits];

    private static bool IsTemp(string name, string prefix)
    {
        int idStart = name.Length - Extension.Length - IdLength;
        return name.StartsWith(prefix, StringComparison.Ordinal)
            && name.EndsWith(Extension, StringComparison.Ordinal)
            && idStart > prefix.Length + 1
            && name[idStart - 1] == '.'
            && Guid.TryParseExact(name.AsSpan(idStart, IdLength), "N", out _);
    }
}
