// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite.Model;

/// <summary>
/// The threads of one random session: two writers, two readers, a consumer and one who asks and walks.
/// </summary>
internal static class ModelRun
{
    private const int Writers = 2;

    /// <summary>Runs them all and checks what is left. A failure names the options, seed included.</summary>
    public static async Task RunAsync(ModelOptions options)
    {
        try
        {
            await using ModelSession session = new(options);
            for (int kill = 0; kill < options.Kills; kill++)
            {
                session.Live(session.Seeds.Next(session.Seeds.Pick(20, 200, 2000)) + 1);
                await RunThreadsAsync(session);
                await session.ResumeAsync();
            }

            await RunThreadsAsync(session);
            await session.CheckEndAsync(OwnEnd(options));
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw new InvalidOperationException($"{options}\n{e.Message}", e);
        }
    }

    // The threads of one life end with it.
    private static async Task RunThreadsAsync(ModelSession session)
    {
        ModelOptions options = session.Options;
        long ownEnd = OwnEnd(options);
        Seeds[] seeds = [.. Enumerable.Range(0, Writers + 5).Select(_ => session.Seeds.Fork())];
        List<Task> threads = [];
        for (int i = 0; i < Writers; i++)
        {
            // The borders between regions lie where they fall: inside granules, as a rule.
            BlockRange own = BlockRange.FromEnds(ownEnd * i / Writers, ownEnd * (i + 1) / Writers);
            BlockRange contended = BlockRange.FromEnds(ownEnd, options.DiskBytes);
            Seeds mine = seeds[i];
            threads.Add(UntilKilled(() => WriteAsync(session, own, contended, mine)));
        }

        threads.Add(Repeat(options, () => session.ReadAsync(seeds[Writers].Range(options.DiskBytes))));
        Seeds second = seeds[Writers + 1];
        threads.Add(Repeat(options, () => session.ReadAsync(second.Range(options.DiskBytes), AnyReader(session, second))));
        threads.Add(Repeat(options, () => ConsumeAsync(session, seeds[Writers + 2])));
        threads.Add(Repeat(options, () => LookAsync(session, seeds[Writers + 3])));
        if (session.Journal is { } journal)
        {
            threads.Add(UntilKilled(() => journal.WriteMapsAsync(session.Point, seeds[Writers + 4])));
        }

        await Task.WhenAll(threads);
    }

    private static long OwnEnd(ModelOptions options) => options.DiskBytes * 2L / 3;

    private static int? AnyReader(ModelSession session, Seeds seeds) =>
        seeds.Next(session.Options.Consumers + 1) is var reader && reader < session.Options.Consumers ? reader : null;

    private static Task UntilKilled(Func<Task> body) => Task.Run(async () =>
    {
        try
        {
            await body();
        }
        catch (KilledException)
        {
        }
    });

    private static Task Repeat(ModelOptions options, Func<Task> request) => UntilKilled(async () =>
    {
        for (int i = 0; i < options.Requests; i++)
        {
            await request();
        }
    });

    private static async Task WriteAsync(ModelSession session, BlockRange own, BlockRange contended, Seeds seeds)
    {
        for (int i = 0; i < session.Options.Requests; i++)
        {
            bool isOwn = seeds.Chance(70);
            BlockRange within = isOwn ? own : contended;
            BlockRange inside = seeds.Range(within.LengthBytes);
            BlockRange range = new(within.OffsetBytes + inside.OffsetBytes, inside.LengthBytes);
            string? error = await ChangeAsync(session, range, isOwn ? session.Guest : null, seeds);
            session.ThrowIfKilled();
            Assert.True(session.MayFail(error), $"a guest request failed with {error}");
            if (isOwn && seeds.Chance(20))
            {
                byte[] read = new byte[range.LengthBytes];
                await session.Point.Filter.ReadAsync(range.OffsetBytes, read, CancellationToken.None);
                session.Guest.Check(range.OffsetBytes, read, "the guest reads its own");
            }
        }
    }

    private static async Task<string?> ChangeAsync(
        ModelSession session, BlockRange range, ReferenceDisk? reference, Seeds seeds)
    {
        CopyBeforeWriteFilter guest = session.Point.Filter;
        byte[]? data = seeds.Next(10) is var choice && choice < 3 ? null : seeds.Bytes(range.LengthBytes);
        if (reference is not null)
        {
            session.InDoubt(range, data);
        }

        try
        {
            switch (choice)
            {
                case 0:
                    await guest.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
                    reference?.Discard(range);
                    break;
                case 1 or 2:
                    await guest.WriteZeroesAsync(
                        range.OffsetBytes, range.LengthBytes, WriteFlags.None, CancellationToken.None);
                    reference?.WriteZeroes(range);
                    break;
                default:
                    await guest.WriteAsync(range.OffsetBytes, data, WriteFlags.None, CancellationToken.None);
                    reference?.Write(range.OffsetBytes, data);
                    break;
            }

            if (reference is not null)
            {
                session.Known(range);
            }

            return null;
        }
        catch (BlockException e)
        {
            if (reference is not null && !session.IsKilled)
            {
                session.Known(range);
            }

            return e.Kind;
        }
    }

    // Small and rare, or there would soon be nothing left to read.
    private static async Task ConsumeAsync(ModelSession session, Seeds seeds)
    {
        int granule = session.Options.GranuleSizeBytes;
        if (seeds.Chance(10))
        {
            long start = seeds.Next((long)session.Options.DiskBytes);
            long length = seeds.Pick(granule, 2 * granule, granule - 1, 3 * granule + 5);
            long slack = seeds.Chance(50) ? start % granule : 0;
            await session.ConsumeAsync(
                BlockRange.FromEnds(start - slack, Math.Min(start - slack + length, session.Options.DiskBytes)),
                AnyReader(session, seeds));
        }
        else
        {
            await session.ReadAsync(new BlockRange(seeds.Next((long)session.Options.DiskBytes), 1));
        }
    }

    private static async Task LookAsync(ModelSession session, Seeds seeds)
    {
        BlockRange range = seeds.Range(session.Options.DiskBytes);
        if (!range.IsEmpty)
        {
            await session.AskAsync(range);
        }

        if (seeds.Chance(5))
        {
            session.Walk();
        }
    }
}
