// SPDX-License-Identifier: MIT
namespace Fleece.Interleavings.Scenarios;

/// <summary>Guest requests against each other: who copies, who waits, and that everybody ends.</summary>
public sealed class GuestWrites
{
    private const int G = Scenario.G;

    [Fact]
    public void Two_overlapping_writes_of_untouched_granules() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(3);
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Guest(() => s.Write(G, 2 * G, 0xA2));
        s.AtEnd(() => Assert.Equal(3 * G, session.Point.CopiedBytes));
    });

    [Fact]
    public void Three_writes_of_one_granule_copy_it_once() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(1);
        s.Guest(() => s.Write(0, G, 0xA1));
        s.Guest(() => s.Write(0, G, 0xA2));
        s.Guest(() => s.Write(0, G / 2, 0xA3));
        s.AtEnd(() => Assert.Equal(G, session.Point.CopiedBytes));
    });

    // A claim must stop at granules that are in temp already: their active content is new.
    [Fact]
    public void A_long_write_over_a_granule_that_another_copies() => Explorer.Exhaust(3, s =>
    {
        s.Start(3);
        s.Guest(() => s.Write(0, 3 * G, 0xA1));
        s.Guest(() => s.Write(G, G, 0xA2));
    });

    // The cancelled write changes nothing, and neither the read nor the other write waits for it.
    [Fact]
    public void A_write_that_is_cancelled_while_it_waits_for_a_read() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(1);
        CancellationTokenSource source = new();
        s.Reader(() => session.Read(0, G));
        s.Guest(() => CancellableWrite(s, source.Token));
        s.Guest(source.Cancel);
        s.AtEnd(source.Dispose);
    });

    [Fact]
    public void A_write_that_is_cancelled_while_it_waits_for_a_copy() => Explorer.Exhaust(2, s =>
    {
        s.Start(1);
        CancellationTokenSource source = new();
        s.Guest(() => CancellableWrite(s, source.Token));
        s.Guest(() => Assert.Null(s.Write(0, G, 0xA2)));
        s.Guest(source.Cancel);
        s.AtEnd(source.Dispose);
    });

    private static void CancellableWrite(Scenario s, CancellationToken token)
    {
        try
        {
            s.Write(0, G, 0xA1, token);
        }
        catch (OperationCanceledException)
        {
            // The end check sees that no byte of it arrived.
        }
    }
}
