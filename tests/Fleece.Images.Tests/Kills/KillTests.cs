// SPDX-License-Identifier: MIT
using Fleece.Images.Tests.Crashes;
using Fleece.TestKit;
using Xunit;
using Xunit.Sdk;

namespace Fleece.Images.Tests.Kills;

/// <summary>A process that is killed loses no acknowledged change of an image that keeps a journal, in every format.</summary>
public sealed class KillTests : IDisposable
{
    private const ulong MostSeeds = 20;
    private const int MostMoreKills = 20;

    private readonly TempFolder _folder = new();

    public static TheoryData<string> Faults => [.. KillFaults.All.Select(fault => fault.Name)];

    public static TheoryData<string> Rows => CrashRows.JournaledNames;

    public void Dispose() => _folder.Dispose();

    // The journal is so short that it is full now and then, so that requests must wait for a write-back.
    [Theory]
    [MemberData(nameof(Rows))]
    public async Task A_kill_at_any_moment_loses_no_acknowledged_change(string name)
    {
        CrashRow row = CrashRows.Find(name);
        Seeds seeds = Seeds.FromEnvironment();
        for (int round = 0; round < 2; round++)
        {
            KillRun run = new(row, _folder, seeds.Fork(), seeds.Pick(64, 256) * 1024) { KillPercent = KillPercent(row) };
            await run.RequestsAsync(row.Requests, flushPercent: round * 15);
            run.Kill();

            // By chance each kill may have come when all was written back.
            for (int more = 0; run.NotedCount == 0 && more < MostMoreKills; more++)
            {
                await run.RequestsAsync(4, flushPercent: 0);
                run.Kill();
            }

            Assert.Null(run.Journal.WhyGivenUp);
            Assert.True(run.NotedCount > 0, $"None of {run.KillCount} kills left notes.");
            await run.CloseAsync();
        }
    }

    [Fact]
    public async Task A_kill_while_the_refcount_table_of_a_qcow2_image_moves_loses_no_acknowledged_change()
    {
        Qemu.SkipWhenMissing();
        const int StartBytes = 1920 * 1024;
        Seeds seeds = Seeds.FromEnvironment();
        KillRun run = new(CrashRows.MovingTable, _folder, seeds, 1024 * 1024) { KillPercent = 5 };
        await run.WriteAsync(0, seeds.Bytes(StartBytes));
        for (int offsetBytes = StartBytes; offsetBytes < 2080 * 1024; offsetBytes += 32 * 1024)
        {
            await run.WriteAsync(offsetBytes, seeds.Bytes(32 * 1024));
        }

        Assert.Null(run.Journal.WhyGivenUp);
        await run.CloseAsync();
    }

    // The file takes no more writes from a moment in a write-back on; what the system has in memory is not lost by that.
    [Theory]
    [MemberData(nameof(Rows))]
    public async Task A_write_back_that_fails_leaves_a_journal_that_holds(string name)
    {
        CrashRow row = CrashRows.Find(name);
        Seeds seeds = Seeds.FromEnvironment();
        int notedCount = 0;
        for (int failedChange = 0; failedChange < 4; failedChange++)
        {
            KillRun run = new(row, _folder, seeds.Fork(), 256 * 1024) { KillPercent = 0 };
            await run.RequestsAsync(10, flushPercent: 0);
            await run.FailFlushAsync(failedChange);
            notedCount += run.NotedCount;
        }

        Assert.True(notedCount > 0, "Nothing was noted.");
    }

    // The same run without the fault passes, so it is the fault that is found. The seeds are fixed: it is found each time or never.
    [Theory]
    [MemberData(nameof(Faults))]
    public async Task A_planted_fault_is_found(string name)
    {
        KillFault fault = KillFaults.All.First(fault => fault.Name == name);
        for (ulong seed = 1; seed <= MostSeeds; seed++)
        {
            if (await Record.ExceptionAsync(() => RunAsync(fault.Row, seed, fault)) is { } found)
            {
                TestContext.Current.TestOutputHelper?.WriteLine($"Seed {seed} finds it: {found.Message}");
                Assert.IsType<XunitException>(found, exactMatch: false);
                await RunAsync(fault.Row, seed, null);
                return;
            }
        }

        Assert.Fail($"'{fault}' was not found with {MostSeeds} seeds.");
    }

    private async Task RunAsync(string name, ulong seed, KillFault? fault)
    {
        CrashRow row = CrashRows.Find(name);
        KillRun run = new(row, _folder, new Seeds(seed), 256 * 1024, fault) { KillPercent = KillPercent(row) };
        await run.RequestsAsync(row.Format == ImageFormat.Vhdx ? 20 : 40, flushPercent: 20);
        await run.CloseAsync();
    }

    private static int KillPercent(CrashRow row) => row.Format == ImageFormat.Vhdx ? 6 : 20;
}
