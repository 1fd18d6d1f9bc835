// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Text;
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

    // The disk's part and the session's of a name; with the dots, the id and the extension 251 bytes at most.
    private const int MaximumPartBytes = 100;

    /// <summary>A name that no other session has. It fits into a file system whatever the disk and the session are called.</summary>
    public static string NewFile(string folder, DiskStorage disk, string sessionName) => Path.Combine(
        folder, $"{Shorten(ImageOf(disk))}.{FileNames.Shorten(sessionName, MaximumPartBytes)}.{Guid.NewGuid():N}{Extension}");

    /// <summary>True for the name of a file that is litter once no process uses it.</summary>
    public static bool IsLitterName(string path) => path.EndsWith(Extension, StringComparison.Ordinal);

    /// <summary>The name of such a file once a log names it.</summary>
    public static string KeptName(string path) => path[..^Extension.Length] + KeptExtension;

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
