// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text.RegularExpressions;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.Backups.Manifests;

/// <summary>What the files of a repository are called; docs/backups.md has the table.</summary>
/// <remarks>Backups are numbered, because a clock can go back and a number can't.</remarks>
internal static partial class RepositoryNames
{
    /// <summary>Held open for writing by the one job that changes the repository.</summary>
    public const string Lock = "repository.lock";

    /// <summary>Behind the name of a file that is not there yet.</summary>
    public const string Partial = WholeFile.Partial;

    private const string Manifest = ".json";
    private const int MaximumDigits = 9;

    // Leaves room for the number, the extension and ".partial", and for what other programs add.
    private const int MaximumStemBytes = 200;

    /// <summary>Highest number of a backup.</summary>
    public const int MaximumNumber = 999_999_999;

    /// <summary>The image of a backup.</summary>
    public static string ImageFor(string diskName, int number, ImageFormat format) =>
        $"{Stem(diskName, number)}.{ExtensionOf(format)}";

    /// <summary>The manifest beside an image.</summary>
    public static string ManifestFor(string imageName) => Path.ChangeExtension(imageName, Manifest);

    /// <summary>The number in the name of an image or a manifest; false for a file that is no backup's, such as one whose name is not
    /// printable: no disk's backup gets such a name.</summary>
    public static bool TryParse(string fileName, out int number, out bool isManifest)
    {
        Match match = Name().Match(fileName);
        isManifest = match.Success && string.Equals(match.Groups[2].Value, Manifest, StringComparison.OrdinalIgnoreCase);
        number = 0;
        return match.Success && PrintableText.IsPrintable(fileName) && match.Groups[1].Length <= MaximumDigits &&
            int.TryParse(match.Groups[1].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number > 0;
    }

    /// <summary>True for the name of a repository's backup in a folder that is one: it has a lock, or the manifest of another backup.
    /// </summary>
    public static bool IsInRepository(string imagePath) =>
        TryParse(Path.GetFileName(imagePath), out _, out _) && Path.GetDirectoryName(imagePath) is { } folderPath &&
        Directory.Exists(folderPath) &&
        Directory.EnumerateFiles(folderPath).Select(Path.GetFileName)
            .Any(name => name == Lock || (TryParse(name!, out _, out bool isManifest) && isManifest));

    // A disk's name may hold what a file's name may not, and more of it.
    private static string Stem(string diskName, int number)
    {
        string name = string.Concat(diskName.Select(c => char.IsLetterOrDigit(c) || c is '-' or '_' or '.' ? c : '_')).TrimStart('.');
        return string.Create(CultureInfo.InvariantCulture, $"{FileNames.Shorten(name, MaximumStemBytes)}-{number:D6}");
    }

    private static string ExtensionOf(ImageFormat format) => format switch
    {
        ImageFormat.Qcow2 => "qcow2",
        ImageFormat.Vhdx => "vhdx",
        ImageFormat.Vhd => "vhd",
        _ => "raw",
    };

    [GeneratedRegex(@"^.*-([0-9]{6,})(\.json|\.qcow2|\.vhdx|\.vhd|\.raw)\z", RegexOptions.IgnoreCase)]
    private static partial Regex Name();
}
