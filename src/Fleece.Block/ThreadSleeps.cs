// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Fleece.Block;

/// <summary>How often a thread has given up its processor to wait for something.</summary>
/// <remarks>
/// Tells storage that makes its thread wait from a thread that others have kept from running, which a clock can't. Only Linux says
/// it of one thread.
/// </remarks>
internal static unsafe partial class ThreadSleeps
{
    /// <summary>What <see cref="Count"/> says where the system does not tell.</summary>
    public const long Unknown = -1;

    // getrusage(2), include/uapi/linux/resource.h: RUSAGE_THREAD, and struct rusage of 64-bit systems, whose ru_nvcsw is the
    // thirteenth of the words behind two times of two words each.
    private const int OfThread = 1;
    private const int UsageWords = 18;
    private const int SleepsWord = 16;

    /// <summary>The calling thread's count since it began, or <see cref="Unknown"/>. It costs a short system call.</summary>
    public static long Count()
    {
        if (!OperatingSystem.IsLinux() || !Environment.Is64BitProcess)
        {
            return Unknown;
        }

        long* usage = stackalloc long[UsageWords];
        return GetUsage(OfThread, usage) == 0 ? usage[SleepsWord] : Unknown;
    }

    [LibraryImport("libc", EntryPoint = "getrusage")]
    private static partial int GetUsage(int who, long* usage);
}
