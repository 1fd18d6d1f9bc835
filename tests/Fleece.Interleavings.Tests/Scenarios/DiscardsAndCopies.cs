// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Interleavings.Scenarios;

/// <summary>
/// Consuming while copies, reads and queries run: I5 and I7. Every end check looks for leftovers in temp.
/// </summary>
public sealed class DiscardsAndCopies
{
    private const int G = Scenario.G;

    [Fact]
    public void A_discard_against_a_running_copy() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = s.Start(2);
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Reader(() => session.Consume(0, G));
    });

    [Fact]
    public void A_discard_against_a_copy_that_fails() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(2, CopyErrorPolicy.BreakGuestWrite);
        session.Temp.FailingWrites = 1;
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Reader(() => session.Consume(0, 2 * G));
    });

    // Freed temp reads as garbage here, so a read that does not look again after its I/O is caught.
    [Fact]
    public void A_discard_against_a_read_from_temp() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = s.Start(2);
        s.Write(0, 2 * G, 0xA1);
        s.Reader(() => session.Read(0, 2 * G));
        s.Reader(() => session.Consume(0, 2 * G));
    });

    // Once refused, the guest changes the granule without a copy: the frozen read of it must fail.
    [Fact]
    public void A_discard_and_a_write_against_a_frozen_read() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(2);
        s.Reader(() => session.Read(0, 2 * G));
        s.Reader(() => session.Consume(0, G));
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
    });

    [Fact]
    public void Two_discards_of_one_granule_count_it_once() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(2);
        s.Reader(() => session.Consume(0, 2 * G));
        s.Reader(() => session.Consume(0, G));
        s.AtEnd(() => Assert.Equal(2 * G, session.Point.ConsumedBytes));
    });

    // The end of a read is the confirmation after which its range is discarded.
    [Fact]
    public void Two_readers_a_consumer_and_a_writer() => Explorer.Sample(5_000, 4, s =>
    {
        ModelSession session = s.Start(4);
        s.Reader(() => session.Read(0, 3 * G));
        s.Reader(() => session.Read(G, 3 * G));
        s.Reader(() =>
        {
            for (int at = 0; at < 4 * G; at += 2 * G)
            {
                session.Read(at, 2 * G);
                session.Consume(at, 2 * G);
            }
        });
        s.Guest(() =>
        {
            s.Write(G, 2 * G, 0xA1);
            s.Write(0, 4 * G, 0xA2);
        });
    });

    [Fact]
    public void A_partial_discard_of_a_granule_changes_nothing() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(2);
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Reader(() => session.Consume(G / 2, G));
        s.AtEnd(() => Assert.Null(session.Read(0, 2 * G)));
    });

    // Each granule is copied, or its copy was avoided, or the guest had not written when it was consumed.
    [Fact]
    public void Two_writes_and_a_discard_count_each_granule_once() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(2);
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Guest(() => s.Write(0, G, 0xA2));
        s.Reader(() => session.Consume(0, 2 * G));
        s.AtEnd(() => Assert.Equal(2 * G, session.Point.Avoided.Bytes + G * session.Point.Done.AddedCount));
    });
}
