// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Globalization;
using System.Text.RegularExpressions;
using Fleece.TestKit;

namespace Fleece.Resuming.Tests.Serving;

/// <summary>The named steps of the sources at which a host can be killed, and how often each was.</summary>
internal static partial class KillPoints
{
    private const int MostTimes = 2000;

    private static readonly ConcurrentDictionary<string, int> Kills = new();

    // How often a step is reached at least, as far as runs have shown.
    private static readonly ConcurrentDictionary<string, int> Reached = new();

    /// <summary>The names, sorted.</summary>
    public static IReadOnlyList<string> All { get; } = Scan();

    /// <summary>How often a host was killed at each step.</summary>
    public static IEnumerable<(string Name, int Count)> Counts => All.Select(name => (name, Kills.GetValueOrDefault(name)));

    /// <summary>A step and the time at which it counts; empty for none.</summary>
    public static string Pick(Seeds seeds)
    {
        if (All.Count == 0 || seeds.Chance(30))
        {
            return string.Empty;
        }

        string name = All[seeds.Next(All.Count)];
        return string.Create(CultureInfo.InvariantCulture, $"{name}:{1 + seeds.Next(Reached.GetValueOrDefault(name, 1))}");
    }

    /// <summary>Notes that a host has ended at its step, or was killed before it got there.</summary>
    public static void Note(string killAt, bool isAtStep)
    {
        if (killAt.Length == 0)
        {
            return;
        }

        string name = killAt.Split(':')[0];
        if (isAtStep)
        {
            Kills.AddOrUpdate(name, 1, (_, count) => count + 1);
        }

        Reached.AddOrUpdate(name, isAtStep ? 3 : 1, (_, times) => isAtStep ? Math.Min(times * 3, MostTimes) : Math.Max(times / 2, 1));
    }

    /// <summary>Folder of the repository.</summary>
    public static string FindRoot()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "src", "Fleece.slnx")))
        {
            folder = folder.Parent;
        }

        return folder?.FullName ?? throw new InvalidOperationException("The tests run outside the repository.");
    }

    private static List<string> Scan() =>
    [
        .. Directory.GetFiles(Path.Combine(FindRoot(), "src"), "*.cs", SearchOption.AllDirectories)
            .SelectMany(path => Step().Matches(File.ReadAllText(path)).Select(match => match.Groups[1].Value))
            .Distinct().Order(StringComparer.Ordinal),
    ];

    [GeneratedRegex("FailPoint\\.Reach\\(\\s*\"([^\"]+)\"\\s*\\)")]
    private static partial Regex Step();
}
