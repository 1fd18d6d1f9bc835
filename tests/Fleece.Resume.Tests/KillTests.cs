// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Resuming.Tests.Serving;
using Fleece.Resuming.Tests.Worlds;
using Fleece.TestKit;

namespace Fleece.Resuming.Tests;

/// <summary>A host that is killed under load, again and again, with disks of every kind.</summary>
/// <remarks>FLEECE_KILLS is the number of kills over all rows, 200 without it.</remarks>
public sealed class KillTests : IClassFixture<KillPointLedger>
{
    private const int UsualKills = 200;

    /// <summary>Kills over all rows.</summary>
    internal static int Kills { get; } = Environment.GetEnvironmentVariable("FLEECE_KILLS") is { Length: > 0 } kills
        ? int.Parse(kills, CultureInfo.InvariantCulture)
        : UsualKills;

    [Theory]
    [InlineData(27, DiskKind.Raw, DiskKind.Qcow2, DiskKind.Vhdx)]
    [InlineData(25, DiskKind.Vhd, DiskKind.Raw, DiskKind.VhdChild)]
    [InlineData(25, DiskKind.VhdxChild, DiskKind.Qcow2Child, DiskKind.Raw)]
    internal async Task A_killed_host_comes_back_as_if_nothing_had_been(int percent, params DiskKind[] kinds)
    {
        await using World world = await World.CreateAsync(Seeds.FromEnvironment(), new WorldOptions(kinds));
        await new KillRun(world).RunAsync(KillsOf(percent));
    }

    [Theory]
    [InlineData(8, "state")]
    [InlineData(8, "temp")]
    [InlineData(7, "images")]
    public async Task A_file_system_that_fills_up_costs_what_the_policy_says_and_no_more(int percent, string place)
    {
        using MountedFolder small = new("tmpfs", "size=64m");
        Assert.SkipWhen(small.SkipReason is not null, small.SkipReason ?? "-");
        WorldOptions options = new([DiskKind.Raw, DiskKind.Qcow2]) { FullFolder = small.Path };
        options = place switch
        {
            "state" => options with { StatePath = Path.Combine(small.Path, "state") },
            "temp" => options with { TempFolder = small.Path },
            _ => options with { ImageFolder = small.Path, HasBitmaps = false },
        };
        await using World world = await World.CreateAsync(Seeds.FromEnvironment(), options);
        await new KillRun(world).RunAsync(KillsOf(percent));
    }

    private static int KillsOf(int percent) => Math.Max(1, Kills * percent / 100);
}
