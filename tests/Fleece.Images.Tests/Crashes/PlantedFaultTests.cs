// SPDX-License-Identifier: MIT
using Fleece.TestKit;
using Xunit;
using Xunit.Sdk;

namespace Fleece.Images.Tests.Crashes;

/// <summary>The crash tests find a file that does not keep the order of writes, at each step of each format's order.</summary>
/// <remarks>The seeds are fixed, so a fault is found each time or never.</remarks>
public sealed class PlantedFaultTests : IDisposable
{
    private const ulong MostSeeds = 30;
    private const int Requests = 30;

    private readonly TempFolder _folder = new();

    public static TheoryData<string> Names => [.. PlantedFaults.All.Select(fault => fault.Name)];

    public static TheoryData<string> Rows => CrashRows.Names;

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public async Task A_planted_fault_is_found(string name) =>
        await IsFoundAsync(PlantedFaults.All.First(fault => fault.Name == name));

    [Theory]
    [MemberData(nameof(Rows))]
    public async Task A_file_that_swallows_all_flushes_is_found(string name) =>
        await IsFoundAsync(new PlantedFault($"{name}: no flush at all", name) { SwallowsFlush = (_, _) => true });

    // The same run without the fault passes, so it is the fault that is found.
    private async ValueTask IsFoundAsync(PlantedFault fault)
    {
        CrashRow row = CrashRows.Find(fault.Row);
        PlantedFault none = fault with { SwallowsFlush = null, Drops = null, Repeats = null };
        for (ulong seed = 1; seed <= MostSeeds; seed++)
        {
            if (await Record.ExceptionAsync(() => RunAsync(row, seed, fault)) is { } found)
            {
                TestContext.Current.TestOutputHelper?.WriteLine($"Seed {seed} finds it: {found.Message}");
                Assert.IsType<XunitException>(found, exactMatch: false);
                await RunAsync(row, seed, none);
                return;
            }
        }

        Assert.Fail($"'{fault}' was not found with {MostSeeds} seeds.");
    }

    private async Task RunAsync(CrashRow row, ulong seed, PlantedFault fault)
    {
        if (fault.MovesTable)
        {
            CrashRun moving = new(CrashRows.MovingTable, _folder, new Seeds(seed), fault);
            await moving.MoveRefcountTableAsync();
            await moving.GiveUpAsync();
            return;
        }

        int crashesPerFlush = row.Format == ImageFormat.Vhdx ? 1 : 4;
        CrashRun run = new(row, _folder, new Seeds(seed), fault) { CrashesPerFlush = crashesPerFlush };
        for (int crash = 0; fault.GoesOn && crash < 8; crash++)
        {
            await run.RequestsAsync(6, flushPercent: 30);
            await run.GoOnAfterCrashAsync();
        }

        await run.RequestsAsync(Requests);
        await run.CloseAsync();
        if (!fault.GoesOn)
        {
            run.Judge.CheckClosed(run.File.Content, run.Context);
        }
    }
}
