// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Fleece.Nbd.Server.Exports;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>
/// Clients that send anything: the server must answer every message as the oracle says, or close, and never break itself.
/// FLEECE_FUZZ_SECONDS makes it longer; FLEECE_SEED repeats one script.
/// </summary>
public sealed class FuzzTests
{
    private const int DiskBytes = 200 * 1024;

    [Fact]
    public async Task Whatever_a_client_sends_is_answered_by_the_rules_or_dropped()
    {
        Seeds seeds = Seeds.FromEnvironment();
        string? wanted = Environment.GetEnvironmentVariable("FLEECE_FUZZ_SECONDS");
        double seconds = string.IsNullOrEmpty(wanted) ? 4 : double.Parse(wanted, CultureInfo.InvariantCulture);
        ulong seed = seeds.Seed;
        long answered = 0;
        int scripts = 0;
        for (Stopwatch watch = Stopwatch.StartNew(); watch.Elapsed.TotalSeconds < seconds; scripts++, seed = seeds.NextBits())
        {
            try
            {
                answered += await RunAsync(new Seeds(seed));
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"Repeat this script with FLEECE_SEED={seed}: {e.Message}", e);
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{scripts} scripts, {answered} answered requests");
        Assert.InRange(answered, scripts, long.MaxValue);
    }

    private static async Task<int> RunAsync(Seeds seeds)
    {
        byte[] content = seeds.Bytes(DiskBytes);
        content.AsSpan(65536, 65536).Clear();
        ExportAccess access = seeds.Chance(70) ? ExportAccess.Write : seeds.Pick(ExportAccess.Read, ExportAccess.Consume);
        byte[] script = new FuzzScript(seeds, DiskBytes).Make();
        int mostBytes = seeds.Pick(1, 7, 100, 5000, int.MaxValue);
        Seeds pieces = seeds.Fork();
        return await ScriptedServer.RunAsync(
            script,
            content,
            access,
            mostBytes == int.MaxValue ? null : room => 1 + pieces.Next(Math.Min(room, mostBytes)),
            isCold: seeds.Chance(20));
    }
}
