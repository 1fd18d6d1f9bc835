// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block.CopyBeforeWrite;
using Fleece.TestKit;

namespace Fleece.Block.Tests.CopyBeforeWrite.Model;

/// <summary>One kind of random session.</summary>
internal sealed record ModelOptions
{
    public required ulong Seed { get; init; }

    public required int GranuleSizeBytes { get; init; }

    /// <summary>Mostly no multiple of the granule.</summary>
    public required int DiskBytes { get; init; }

    public CopyErrorPolicy Policy { get; init; }

    public bool IsLimited { get; init; }

    public bool OnFiles { get; init; }

    /// <summary>
    /// Requests of every node give their thread away at random, so that more of them are in flight at once.
    /// </summary>
    public bool IsDelayed { get; init; }

    /// <summary>One temp write in so many fails, torn; 0 for none.</summary>
    public int FaultEvery { get; init; }

    /// <summary>How often the process is killed, to go on from its notes; 0 for a session without a journal.</summary>
    public int Kills { get; init; }

    /// <summary>Consumers that are counted.</summary>
    public int Consumers { get; init; }

    /// <summary>Requests of each thread.</summary>
    public int Requests { get; init; } = 400;

    /// <summary>Whatever the seed says.</summary>
    public static ModelOptions Random(ulong seed)
    {
        Seeds seeds = new(seed);
        int granule = seeds.Pick(512, 1024, 4096, 16384, 65536);
        bool onFiles = seeds.Chance(40);
        return new ModelOptions
        {
            Seed = seed,
            GranuleSizeBytes = granule,
            DiskBytes = granule * (8 + seeds.Next(seeds.Pick(8, 120))) + seeds.Pick(0, 1, 511, -1, granule / 2),
            Policy = seeds.Pick(CopyErrorPolicy.BreakSnapshot, CopyErrorPolicy.BreakGuestWrite),
            IsLimited = seeds.Chance(40),
            OnFiles = onFiles,
            IsDelayed = seeds.Chance(50),
            FaultEvery = seeds.Chance(40) ? seeds.Pick(20, 300) : 0,
            Kills = seeds.Chance(40) ? seeds.Pick(1, 5) : 0,
            Consumers = seeds.Pick(0, 0, 2, 3),
        };
    }

    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"seed {Seed}: {DiskBytes} bytes, granule {GranuleSizeBytes}, {Policy}{(IsLimited ? ", limited" : "")}" +
        $"{(OnFiles ? ", files" : "")}{(IsDelayed ? ", delayed" : "")}, a fault in {FaultEvery}, {Kills} kills, {Consumers} consumers");
}
