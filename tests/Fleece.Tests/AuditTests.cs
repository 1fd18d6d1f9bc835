// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;

namespace Fleece.Tests;

/// <summary>The audit trail and its page.</summary>
public sealed partial class AuditTests
{
    [Fact]
    public void Every_action_of_the_audit_trail_is_in_the_page_of_the_host()
    {
        string page = File.ReadAllText(Path.Combine(HouseTests.Root, "docs", "host.md"));
        string row = page.Split('\n').Single(line => line.StartsWith("| `action` |", StringComparison.Ordinal));
        HashSet<string> known = [];
        string subject = string.Empty;
        foreach (Match name in InPage().Matches(row))
        {
            subject = name.Groups[1].Length == 0 ? subject : name.Groups[1].Value;
            known.Add($"{subject}.{name.Groups[2].Value}");
        }

        string[] used =
        [
            .. Directory.GetFiles(Path.Combine(HouseTests.Root, "src", "Fleece.Hosting"), "*.cs", SearchOption.AllDirectories)
                .SelectMany(path => InSource().Matches(File.ReadAllText(path)).Select(match => match.Groups[1].Value))
                .Distinct(),
        ];

        Assert.Contains("session.break", used);
        Assert.Empty(used.Except(known));
    }

    [GeneratedRegex(@"`([a-z]*)\.([a-z]+)`")]
    private static partial Regex InPage();

    [GeneratedRegex("""
        "((?:audit|bitmap|client|disk|export|guest|job|session|snapshot)\.(?!jsonl)[a-z]+)"
        """)]
    private static partial Regex InSource();
}
