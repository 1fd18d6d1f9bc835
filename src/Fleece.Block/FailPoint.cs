// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;

namespace Fleece.Block;

/// <summary>A named step at which a test has the process killed, to prove that the next one goes on from there.</summary>
/// <remarks>The environment variable FLEECE_TEST_KILL_AT names one: NAME, or NAME:COUNT for the step's COUNT-th time. Without it a step
/// costs nothing once its method is compiled for good. Threading. Any thread.</remarks>
internal static class FailPoint
{
    private static readonly string? Armed;
    private static int s_left;

    static FailPoint()
    {
        string[] parts = Environment.GetEnvironmentVariable("FLEECE_TEST_KILL_AT")?.Split(':') ?? [];
        Armed = parts.Length == 0 || parts[0].Length == 0 ? null : parts[0];
        s_left = parts.Length == 2 ? int.Parse(parts[1], CultureInfo.InvariantCulture) : 1;
    }

    /// <summary>A step; the process ends here, as with SIGKILL, where a test asks for it.</summary>
    /// <param name="name">What the step is about to do or has done, in words with hyphens.</param>
    public static void Reach(string name)
    {
        if (Armed is not null)
        {
            KillIfMeant(name);
        }
    }

    private static void KillIfMeant(string name)
    {
        if (name == Armed && Interlocked.Decrement(ref s_left) == 0)
        {
            Process.GetCurrentProcess().Kill();
            Thread.Sleep(Timeout.Infinite); // The signal is on its way.
        }
    }
}
