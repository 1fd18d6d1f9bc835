// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Tests.CopyBeforeWrite.Model;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>Random sessions under several real threads, against byte arrays.</summary>
/// <remarks>FLEECE_SEED repeats the choices of a run; how its threads meet is chance, so a failure may need some tries.
/// FLEECE_SOAK_SECONDS=3600 runs new sessions for an hour.</remarks>
public sealed class ReferenceModelTests
{
    public static TheoryData<int, int, CopyErrorPolicy, bool, bool, int> Kinds => new()
    {
        { 512, 100 * 512 + 1, CopyErrorPolicy.BreakSnapshot, false, false, 0 },
        { 512, 64 * 512, CopyErrorPolicy.BreakGuestWrite, true, true, 0 },
        { 4096, 60 * 4096 + 512, CopyErrorPolicy.BreakSnapshot, false, true, 0 },
        { 4096, 50 * 4096 + 4095, CopyErrorPolicy.BreakGuestWrite, true, false, 30 },
        { 4096, 50 * 4096 + 7, CopyErrorPolicy.BreakSnapshot, false, false, 500 },
        { 16384, 20 * 16384 - 1, CopyErrorPolicy.BreakGuestWrite, false, true, 50 },
        { 65536, 12 * 65536 + 3, CopyErrorPolicy.BreakSnapshot, true, true, 0 },
        { 65536, 9 * 65536 + 4096, CopyErrorPolicy.BreakGuestWrite, false, false, 20 },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public Task A_session_keeps_the_instant_and_the_guests_data(
        int granuleSizeBytes, int diskBytes, CopyErrorPolicy policy, bool isLimited, bool onFiles, int faultEvery) =>
        ModelRun.RunAsync(new ModelOptions
        {
            Seed = Seeds.FromEnvironment().Seed,
            GranuleSizeBytes = granuleSizeBytes,
            DiskBytes = diskBytes,
            Policy = policy,
            IsLimited = isLimited,
            OnFiles = onFiles,
            IsDelayed = !onFiles,
            FaultEvery = faultEvery,
        });

    [Theory]
    [InlineData(512, 100 * 512 + 1, CopyErrorPolicy.BreakSnapshot, false, 0, 0)]
    [InlineData(4096, 40 * 4096 + 512, CopyErrorPolicy.BreakGuestWrite, true, 0, 2)]
    [InlineData(4096, 50 * 4096 + 7, CopyErrorPolicy.BreakGuestWrite, false, 30, 0)]
    [InlineData(65536, 12 * 65536 + 3, CopyErrorPolicy.BreakSnapshot, true, 0, 3)]
    [InlineData(16384, 20 * 16384 - 1, CopyErrorPolicy.BreakSnapshot, false, 100, 2)]
    public async Task A_session_whose_process_is_killed_goes_on_from_its_notes(
        int granuleSizeBytes, int diskBytes, CopyErrorPolicy policy, bool isLimited, int faultEvery, int consumers)
    {
        Seeds seeds = Seeds.FromEnvironment();
        for (int i = 0; i < 8; i++)
        {
            await ModelRun.RunAsync(new ModelOptions
            {
                Seed = seeds.NextBits(),
                GranuleSizeBytes = granuleSizeBytes,
                DiskBytes = diskBytes,
                Policy = policy,
                IsLimited = isLimited,
                IsDelayed = i % 2 == 0,
                FaultEvery = faultEvery,
                Kills = 5,
                Consumers = consumers,
                Requests = 100,
            });
        }
    }

    [Fact]
    public async Task Random_kinds_of_sessions_keep_the_instant_and_the_guests_data()
    {
        Seeds seeds = Seeds.FromEnvironment();
        for (int i = 0; i < 8; i++)
        {
            await ModelRun.RunAsync(ModelOptions.Random(seeds.NextBits()) with { Requests = 200 });
        }
    }

    [Fact]
    public async Task Soak()
    {
        string? seconds = Environment.GetEnvironmentVariable("FLEECE_SOAK_SECONDS");
        Assert.SkipWhen(string.IsNullOrEmpty(seconds), "Set FLEECE_SOAK_SECONDS to run random sessions for that long.");
        TimeSpan duration = TimeSpan.FromSeconds(int.Parse(seconds, CultureInfo.InvariantCulture));
        Seeds seeds = Seeds.FromEnvironment();
        int sessions = 0;
        for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < duration; sessions++)
        {
            await ModelRun.RunAsync(ModelOptions.Random(seeds.NextBits()));
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{sessions} sessions");
    }
}
