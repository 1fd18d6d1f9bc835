// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Fleece.TestKit;

namespace Fleece.Fuzz;

/// <summary>
/// Every target on its corpus and on inputs made from it, always the same ones. FLEECE_SEED makes others, or repeats the one that
/// a failure names; FLEECE_FUZZ_SECONDS goes on that long with each target.
/// </summary>
/// <remarks>One class, so that one input runs at a time: what an input allocates is counted for the whole process.</remarks>
public sealed class SmokeTests
{
    private const ulong UsualSeed = 0x466C656563650001;

    // Far beyond what any input needs; it turns a hang into a failure that says which input hung.
    internal static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    public static TheoryData<string> TargetNames => [.. FuzzTargets.All.Select(target => target.Name)];

    [Theory]
    [MemberData(nameof(TargetNames))]
    public async Task The_corpus_holds_no_finding(string name)
    {
        FuzzTarget target = FuzzTargets.Find(name);
        IReadOnlyList<byte[]> seeds = target.Seeds();
        Assert.NotEmpty(seeds);
        for (int index = 0; index < seeds.Count; index++)
        {
            await RunAsync(target, seeds[index], $"seed {index} of the corpus");
        }
    }

    [Theory]
    [MemberData(nameof(TargetNames))]
    public async Task Mutated_inputs_are_handled_or_refused(string name) => await FuzzAsync(FuzzTargets.Find(name));

    // The canary: a fuzzer that does not find a planted defect proves nothing by finding none.
    [Fact]
    public async Task A_planted_defect_is_found_and_its_seed_finds_it_again()
    {
        CanaryTarget canary = new();

        InvalidOperationException finding =
            await Assert.ThrowsAsync<InvalidOperationException>(async () => await FuzzAsync(canary));

        Assert.IsType<IndexOutOfRangeException>(finding.InnerException);
        ulong seed = ulong.Parse(finding.Message.Split('=', ' ')[1], CultureInfo.InvariantCulture);
        byte[] input = canary.Make(new Seeds(seed), canary.Seeds());
        await Assert.ThrowsAsync<IndexOutOfRangeException>(async () => await canary.RunAsync(input));
    }

    private static async Task FuzzAsync(FuzzTarget target)
    {
        string? wanted = Environment.GetEnvironmentVariable("FLEECE_FUZZ_SECONDS");
        double seconds = string.IsNullOrEmpty(wanted) ? 0 : double.Parse(wanted, CultureInfo.InvariantCulture);
        bool isChosen = seconds != 0 || !string.IsNullOrEmpty(Environment.GetEnvironmentVariable("FLEECE_SEED"));
        Seeds random = isChosen ? Seeds.FromEnvironment() : new Seeds(UsualSeed);
        IReadOnlyList<byte[]> corpus = target.Seeds();
        ulong seed = random.Seed;
        int cases = 0;
        for (Stopwatch watch = Stopwatch.StartNew(); cases < target.SmokeCases || watch.Elapsed.TotalSeconds < seconds; cases++)
        {
            await RunAsync(target, target.Make(new Seeds(seed), corpus), $"FLEECE_SEED={seed}");
            seed = random.NextBits();
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{target.Name}: {cases} inputs from FLEECE_SEED={random.Seed}");
    }

    // On a thread of the pool, so that an input on which the engine never returns can be left behind.
    private static async Task RunAsync(FuzzTarget target, byte[] input, string origin)
    {
        try
        {
            await Task.Run(() => target.RunAsync(input).AsTask()).WaitAsync(Patience);
        }
        catch (Exception finding)
        {
            string path = Path.Combine(AppContext.BaseDirectory, $"finding-{target.Name}.bin");
            await File.WriteAllBytesAsync(path, target.Pack(input));
            throw new InvalidOperationException($"{origin} repeats this, and {path} holds the input. {finding.Message}", finding);
        }
    }
}
