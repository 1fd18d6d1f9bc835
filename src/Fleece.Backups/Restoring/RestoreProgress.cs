// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Fleece.Backups.Writing;
using Fleece.Block.Files;

namespace Fleece.Backups.Restoring;

/// <summary>How far a restore has come, beside its partial file: "PATH.partial.progress".</summary>
/// <remarks>
/// One line: the plan's fingerprint, the size in bytes, the number of reads whose data is durable in the partial file, and the SHA-256 of
/// these three with the spaces between them. It is only written when that is true, and only believed when the digest fits.
/// </remarks>
internal static class RestoreProgress
{
    // Two numbers and two digests in hexadecimal.
    private const int MaximumBytes = 256;

    /// <summary>True when a restore has left a partial file, or is writing it.</summary>
    /// <param name="destinationPath">The name that the partial file is to have.</param>
    public static bool Exists(string destinationPath) =>
        File.Exists(PartialImage.PathFor(destinationPath)) && File.Exists(PartialImage.ProgressPathFor(destinationPath));

    /// <summary>The steps that are done already in a partial file; null when it is not of this plan.</summary>
    /// <param name="destinationPath">The name that the partial file is to have.</param>
    /// <param name="plan">The plan.</param>
    /// <param name="isDamaged">True when there is a note that can't be believed: no restore can go on with the partial file.</param>
    public static int? Find(string destinationPath, RestorePlan plan, out bool isDamaged)
    {
        string path = PartialImage.ProgressPathFor(destinationPath);
        isDamaged = false;
        if (!Exists(destinationPath))
        {
            return null;
        }

        string[] fields = Read(path).Split(' ');
        isDamaged = fields.Length != 4 || fields[3] != DigestOf(string.Join(' ', fields[..3]));
        return !isDamaged && fields[0] == plan.Fingerprint() &&
            fields[1] == plan.Range.LengthBytes.ToString(CultureInfo.InvariantCulture) &&
            int.TryParse(fields[2], NumberStyles.None, CultureInfo.InvariantCulture, out int steps) && steps <= plan.Steps.Count
                ? steps
                : null;
    }

    /// <summary>Notes the steps that are durable.</summary>
    public static void Write(string destinationPath, RestorePlan plan, string fingerprint, int steps)
    {
        string path = PartialImage.ProgressPathFor(destinationPath);
        string newPath = path + ".new";
        FileNames.Delete(newPath);
        using (LocalFile file = LocalFile.Create(newPath, 0))
        {
            string line = string.Create(CultureInfo.InvariantCulture, $"{fingerprint} {plan.Range.LengthBytes} {steps}");
            file.Write(0, Encoding.ASCII.GetBytes($"{line} {DigestOf(line)}"));
            file.Flush();
        }

        FileNames.Move(newPath, path, overwrite: true);
    }

    private static string Read(string path)
    {
        if (new FileInfo(path).Length == 0)
        {
            return string.Empty;
        }

        using LocalFile file = LocalFile.Open(path, isReadOnly: true);
        byte[] bytes = new byte[MaximumBytes];
        return Encoding.ASCII.GetString(bytes, 0, file.ReadUpTo(0, bytes));
    }

    private static string DigestOf(string line) => Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(line)));
}
