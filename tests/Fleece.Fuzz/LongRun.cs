// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Fleece.TestKit;

namespace Fleece.Fuzz;

/// <summary>Mutations of one target's corpus for some time, which goes on after a finding.</summary>
internal static class LongRun
{
    /// <summary>Most inputs that are kept, each of another finding.</summary>
    private const int MaximumFindings = 50;

    /// <summary>Runs and says how it went; an input that never returns ends it, with its seed.</summary>
    /// <returns>How many different findings there are.</returns>
    public static async Task<int> RunAsync(FuzzTarget target, TimeSpan duration, string folder)
    {
        Directory.CreateDirectory(folder);
        Seeds random = Seeds.FromEnvironment();
        IReadOnlyList<byte[]> corpus = target.Seeds();
        Dictionary<string, int> findings = [];
        ulong seed = random.Seed;
        int cases = 0;
        for (Stopwatch watch = Stopwatch.StartNew(); watch.Elapsed < duration; cases++, seed = random.NextBits())
        {
            byte[] input = target.Make(new Seeds(seed), corpus);
            try
            {
                await Task.Run(() => target.RunAsync(input).AsTask()).WaitAsync(SmokeTests.Patience);
            }
            catch (TimeoutException)
            {
                Console.WriteLine($"FLEECE_SEED={seed} does not end within {SmokeTests.Patience}.");
                return findings.Count + 1;
            }
            catch (Exception finding)
            {
                string name = NameOf(finding);
                findings[name] = findings.GetValueOrDefault(name) + 1;
                if (findings[name] == 1 && findings.Count <= MaximumFindings)
                {
                    string path = Path.Combine(folder, $"{target.Name}-{seed}.bin");
                    await File.WriteAllBytesAsync(path, target.Pack(input));
                    Console.WriteLine($"FLEECE_SEED={seed}, {path}: {finding}");
                }
            }
        }

        Console.WriteLine($"{target.Name}: {cases} inputs from FLEECE_SEED={random.Seed}, {findings.Count} findings");
        foreach ((string name, int count) in findings)
        {
            Console.WriteLine($"{count,8} {name}");
        }

        return findings.Count;
    }

    // Findings are the same when they say the same but for the numbers, from the same place.
    private static string NameOf(Exception finding)
    {
        string place = finding.StackTrace?.Split('\n')[0].Trim() ?? string.Empty;
        string text = string.Concat(finding.Message.Where(c => !char.IsAsciiHexDigit(c)));
        return string.Create(CultureInfo.InvariantCulture, $"{finding.GetType().Name} {place} {text[..Math.Min(120, text.Length)]}");
    }
}
