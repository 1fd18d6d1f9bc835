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

    /// <summary>The calls that an action makes on this thread, such as "2 x read, 0 x write". It is done several times.</summary>
    public static string Count(Action action)
    {
        (long readsOfCounting, long writesOfCounting) = CountFewest(() => { });
        (long reads, long writes) = CountFewest(action);
        return string.Create(
            CultureInfo.InvariantCulture, $"{reads - readsOfCounting} x read, {writes - writesOfCounting} x write");
    }

    // The fewest of several rounds: a collection of garbage reads how much memory the machine has left, on the thread that begins it.
    private static (long Reads, long Writes) CountFewest(Action action)
    {
        (long fewestReads, long fewestWrites) = (long.MaxValue, long.MaxValue);
        for (int i = 0; i < 5; i++)
        {
            (long readsBefore, long writesBefore) = Read();
            action();
            (long reads, long writes) = Read();
            fewestReads = Math.Min(fewestReads, reads - readsBefore);
            fewestWrites = Math.Min(fewestWrites, writes - writesBefore);
        }

        return (fewestReads, fewestWrites);
    }

    private static (long Reads, long Writes) Read()
    {
        string[] lines = File.ReadAllLines(CountsPath);
        return (Find(lines, "syscr: "), Find(lines, "syscw: "));
    }

    private static long Find(string[] lines, string name) => long.Parse(
        lines.First(line => line.StartsWith(name, StringComparison.Ordinal)).AsSpan(name.Length), CultureInfo.InvariantCulture);
}
