// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Fleece.Hosting.Tests.Host;

/// <summary>Does something on a thread that is of another user; the kernel keeps users for each thread, nptl(7).</summary>
internal static partial class ThreadUser
{
    /// <summary>The user "nobody" on most systems.</summary>
    public const uint Nobody = 65534;

    // arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
    private static readonly (nint SetGroups, nint SetGroup, nint SetUser) Calls =
        RuntimeInformation.ProcessArchitecture == Architecture.X64 ? (116, 119, 117) : (159, 149, 147);

    /// <summary>Skips the test unless it can be another user.</summary>
    public static void Need() => Assert.SkipUnless(
        OperatingSystem.IsLinux() && Environment.IsPrivilegedProcess &&
        RuntimeInformation.ProcessArchitecture is Architecture.X64 or Architecture.Arm64,
        "root on Linux can be other users; this is not root");

    public static T Run<T>(uint userId, uint[] groups, Func<T> action)
    {
        T result = default!;
        Exception? failure = null;
        Thread thread = new(() =>
        {
            try
            {
                Check(Call(Calls.SetGroups, groups.Length, groups));
                Check(Call(Calls.SetGroup, (nint)userId, (nint)userId, (nint)userId));
                Check(Call(Calls.SetUser, (nint)userId, (nint)userId, (nint)userId));
                result = action();
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        thread.Start();
        thread.Join();
        return failure is null ? result : throw new InvalidOperationException("The thread failed.", failure);
    }

    private static void Check(nint answer) => Assert.Equal(0, answer);

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial nint Call(nint number, nint count, uint[] groups);

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static partial nint Call(nint number, nint real, nint effective, nint saved);
}
