// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Fleece.Block.Files;

/// <summary>Which run of the operating system this is.</summary>
/// <remarks>
/// What a killed process wrote is in the system's memory and will reach the disk; what a system that stopped had in memory may be
/// lost. Two equal ids say that the first is the case. Source: proc(5), /proc/sys/kernel/random/boot_id. Where nothing tells it is
/// <see cref="Guid.Empty"/>, which equals no other run.
/// </remarks>
internal static class BootId
{
    private const string Path = "/proc/sys/kernel/random/boot_id";

    public static Guid Current { get; } = Read();

    public static bool IsThisRun(Guid id) => id != Guid.Empty && id == Current;

    private static Guid Read()
    {
        try
        {
            return OperatingSystem.IsLinux() && Guid.TryParse(File.ReadAllText(Path), CultureInfo.InvariantCulture, out Guid id)
                ? id
                : Guid.Empty;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return Guid.Empty;
        }
    }
}
