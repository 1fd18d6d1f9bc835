// SPDX-License-Identifier: MIT
using System.Globalization;
using Xunit;

namespace Fleece.Images.Tests.Settled;

/// <summary>The system calls that read and write, as the kernel counts them for each thread (proc_pid_io(5)).</summary>
internal static class ThreadCalls
{
    private const string CountsPath = "/proc/thread-self/io";

    /// <summary>Skips the test where the kernel does not count them.</summary>
    public static void SkipWhenUncounted() =>
        Assert.SkipUnless(File.Exists(CountsPath), $"Only Linux counts the calls of a thread, in {CountsPath}.");

    /// <summary>The calls that an action makes on this thread, such as "2 x read, 0 x write".</summary>
    public static string Count(Action action)
    {
        (long readsBefore, long writesBefore) = Read();
        (long reads, long writes) = Read();
        long readsOfCounts = reads - readsBefore;
        long writesOfCounts = writes - writesBefore;
        action();
        (long readsAfter, long writesAfter) = Read();
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{readsAfter - reads - readsOfCounts} x read, {writesAfter - writes - writesOfCounts} x write");
    }

    private static (long Reads, long Writes) Read()
    {
        string[] lines = File.ReadAllLines(CountsPath);
        return (Find(lines, "syscr: "), Find(lines, "syscw: "));
    }

    private static long Find(string[] lines, string name) => long.Parse(
        lines.First(line => line.StartsWith(name, StringComparison.Ordinal)).AsSpan(name.Length), CultureInfo.InvariantCulture);
}
