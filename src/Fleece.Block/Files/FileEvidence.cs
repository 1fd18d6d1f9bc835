// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>What tells a file, as it is now, from another one and from itself at another time.</summary>
/// <param name="FileId">What stays with the file whatever it is called, and no other file gets: the inode and the time at which the file
/// was made, on Windows that time alone; 0 where nothing tells.</param>
/// <param name="LengthBytes">Its length.</param>
/// <param name="ModifiedTicks">When its content changed last, as <see cref="DateTime.Ticks"/> in UTC.</param>
internal readonly record struct FileEvidence(ulong FileId, long LengthBytes, long ModifiedTicks)
{
    // Files that witness a process's changes are touched once a second; a guest's write may be held up between the touch and the image.
    private static readonly TimeSpan WitnessTolerance = TimeSpan.FromSeconds(5);

    /// <summary>True when the file was changed after the process that touched its witness could have changed it.</summary>
    /// <param name="witnessTicks">When the witness was touched last, as <see cref="ModifiedTicks"/>.</param>
    public bool IsChangedAfter(long witnessTicks) => ModifiedTicks > witnessTicks + WitnessTolerance.Ticks;

    /// <summary>True when the file was changed as near to a time as a process that noted the time then may have changed it behind that.
    /// </summary>
    /// <param name="ticks">The time, as <see cref="ModifiedTicks"/>.</param>
    public bool IsChangedAbout(long ticks) =>
        ModifiedTicks >= ticks - WitnessTolerance.Ticks && ModifiedTicks <= ticks + WitnessTolerance.Ticks;

    /// <summary>The time that a witness gets: now. A clock that was put back leaves the times of files ahead of it, and a witness that took
    /// the clock's would be older than what it vouches for.</summary>
    /// <param name="notBeforeTicks">The latest <see cref="ModifiedTicks"/> of what it vouches for, as it was read last.</param>
    public static DateTime WitnessTime(long notBeforeTicks) =>
        new(Math.Max(DateTime.UtcNow.Ticks, notBeforeTicks), DateTimeKind.Utc);

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

            return new FileEvidence(FileIdOf(path, file), file.Length, file.LastWriteTimeUtc.Ticks);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, path, "look at");
        }
    }

    /// <summary>One number of an inode and the time at which its file was made. A file system gives the inode of a file that was deleted to
    /// the next one. Two times give two numbers for one inode, as two inodes do for one time.</summary>
    /// <param name="inode">The inode.</param>
    /// <param name="birthNanoseconds">The time; 0 where the file system keeps none, which gives the inode itself.</param>
    internal static ulong Identify(ulong inode, ulong birthNanoseconds)
    {
        // The last steps of SplitMix64, each of which can be undone.
        ulong mixed = birthNanoseconds;
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58_476D_1CE4_E5B9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D0_49BB_1331_11EB;
        return inode ^ mixed ^ (mixed >> 31);
    }

    private static ulong FileIdOf(string path, FileInfo file)
    {
        if (OperatingSystem.IsWindows())
        {
            return (ulong)file.CreationTimeUtc.Ticks;
        }

        (ulong inode, ulong birthNanoseconds) = PosixStat.GetOrigin(path);
        return Identify(inode, birthNanoseconds);
    }
}
