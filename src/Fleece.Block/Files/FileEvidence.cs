// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>What tells a file, as it is now, from another one and from itself at another time.</summary>
/// <param name="FileId">What stays with the file whatever it is called: the inode, on Windows the time of its creation; 0 where
/// nothing tells.</param>
/// <param name="LengthBytes">Its length.</param>
/// <param name="ModifiedTicks">When its content changed last, as <see cref="DateTime.Ticks"/> in UTC.</param>
internal readonly record struct FileEvidence(ulong FileId, long LengthBytes, long ModifiedTicks)
{
    // Files that witness a process's changes are touched once a second; a guest's write may be held up between the touch and the image.
    private static readonly TimeSpan WitnessTolerance = TimeSpan.FromSeconds(5);

    /// <summary>True when the file was changed after the process that touched its witness could have changed it.</summary>
    /// <param name="witnessTicks">When the witness was touched last, as <see cref="ModifiedTicks"/>.</param>
    public bool IsChangedAfter(long witnessTicks) => ModifiedTicks > witnessTicks + WitnessTolerance.Ticks;

    /// <summary>Looks at the file that a path means, through links.</summary>
    /// <exception cref="BlockException">NotFound, PermissionDenied, IoFailed.</exception>
    public static FileEvidence Read(string path)
    {
        try
        {
            FileInfo file = new(path);
            if (file.ResolveLinkTarget(returnFinalTarget: true) is FileInfo target)
            {
                file = target;
            }

            ulong fileId = OperatingSystem.IsWindows() ? (ulong)file.CreationTimeUtc.Ticks : PosixStat.GetInode(path);
            return new FileEvidence(fileId, file.Length, file.LastWriteTimeUtc.Ticks);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, path, "look at");
        }
    }
}
