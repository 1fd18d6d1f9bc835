// SPDX-License-Identifier: MIT
namespace Fleece.Interleavings.Scenarios;

/// <summary>Frozen reads against guest writes: I1, I2, I3, in every order within the bound.</summary>
public sealed class ReadsAndWrites
{
    private const int G = Scenario.G;

    [Fact]
    public void A_read_against_a_write_of_the_same_granule() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = s.Start(1);
        s.Reader(() => session.Read(0, G));
        s.Guest(() => s.Write(0, G, 0xA1));
    });

    [Fact]
    public void A_read_against_a_write_that_covers_part_of_it() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(4);
        s.Reader(() => session.Read(0, 3 * G));
        s.Guest(() => s.Write(G + G / 2, 2 * G, 0xA1));
    });

    [Fact]
    public void A_read_against_a_write_next_to_it() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(4);
        s.Reader(() => session.Read(0, 2 * G));
        s.Guest(() => s.Write(2 * G, 2 * G, 0xA1));
    });

    // Granule 1 is in temp already, so the read has three pieces; the write changes the ones on both sides.
    [Fact]
    public void A_read_that_spans_a_done_granule_against_a_write() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(3);
        s.Write(G, G, 0xB1);
        s.Reader(() => session.Read(0, 3 * G));
        s.Guest(() => s.Write(0, 3 * G, 0xA1));
    });

    // The write is settled and takes the path without a lock; the slow reader froze the granule before.
    [Fact]
    public void A_settled_write_against_a_frozen_read_of_the_same_granule() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(1);
        s.Reader(() => session.Read(0, G));
        s.Guest(() => s.Write(0, G, 0xA1));
        s.Guest(() => s.Write(0, G, 0xA2));
    });

    [Fact]
    public void Zeroes_and_discards_against_a_read() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(2);
        s.Reader(() => session.Read(0, 2 * G));
        s.Guest(() => s.WriteZeroes(0, G));
        s.Guest(() => s.Discard(G, G));
    });

    // While one read finds its granule done at the last moment, the other must not lose the slot that protects it.
    [Fact]
    public void Two_reads_against_writes_of_both_granules() => Explorer.Sample(5_000, 3, s =>
    {
        ModelSession session = s.Start(2);
        s.Reader(() => session.Read(0, G));
        s.Reader(() => session.Read(G, G));
        s.Guest(() => s.Write(0, G, 0xA1));
        s.Guest(() => s.Write(G, G, 0xA2));
    });

    [Fact]
    public void A_hole_takes_no_space_in_temp() => Explorer.Exhaust(2, s =>
    {
        s.MakeDisk(2, holes: 0);
        ModelSession session = s.AddSession();
        s.Reader(() => session.Read(0, 2 * G));
        s.Guest(() => s.Write(0, G, 0xA1));
        s.AtEnd(() => Assert.False(session.Temp.Stored[0]));
    });
}
