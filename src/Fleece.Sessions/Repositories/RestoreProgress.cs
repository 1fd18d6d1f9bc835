// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Fleece.Block.Files;

namespace Fleece.Sessions.Repositories;

/// <summary>How far a restore has come, beside its partial file: "PATH.partial.progress".</summary>
/// <remarks>
/// One line: the plan's fingerprint, the size in bytes, and the number of reads whose data is durable in the partial file. It is only
/// written when that is true.
/// </remarks>
internal static class RestoreProgress
{
    private const string Extension = ".progress";

    // Two numbers and a digest in hexadecimal.
    private const int MaximumBytes = 256;

    /// <summary>The steps that are done already in a partial file; null when it is not of this plan.</summary>
    public static int? Find(string partialPath, RestorePlan plan)
    {
        string path = partialPath + Extension;
        if (!File.Exists(partialPath) || !File.Exists(path))
        {
            return null;
        }

        using LocalFile file = LocalFile.Open(path, isReadOnly: true);
        byte[] bytes = new byte[MaximumBytes];
        string[] fields = Encoding.ASCII.GetString(bytes, 0, file.ReadUpTo(0, bytes)).Split(' ');
        return fields.Length == 3 && fields[0] == plan.Fingerprint() &&
            fields[1] == plan.Range.LengthBytes.ToString(CultureInfo.InvariantCulture) &&
            int.TryParse(fields[2], NumberStyles.None, CultureInfo.InvariantCulture, out int steps) && steps <= plan.Steps.Count
                ? steps
                : null;
    }

    /// <summary>Notes the steps that are durable.</summary>
    public static void Write(string partialPath, RestorePlan plan, string fingerprint, int steps)
    {
        string path = partialPath + Extension;
        string newPath = path + ".new";
        FileNames.Delete(newPath);
        using (LocalFile file = LocalFile.Create(newPath, 0))
        {
            file.Write(0, Encoding.ASCII.GetBytes(
                string.Create(CultureInfo.InvariantCulture, $"{fingerprint} {plan.Range.LengthBytes} {steps}")));
            file.Flush();
        }

        FileNames.Move(newPath, path, overwrite: true);
    }

    /// <summary>Forgets it.</summary>
    public static void Delete(string partialPath) => FileNames.Delete(partialPath + Extension);
}
