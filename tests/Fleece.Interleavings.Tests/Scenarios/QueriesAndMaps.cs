// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Interleavings.Scenarios;

/// <summary>Status queries and map walks while the maps change: I5.</summary>
public sealed class QueriesAndMaps
{
    private const int G = Scenario.G;

    [Fact]
    public void A_status_query_against_a_write() => Explorer.Exhaust(2, s =>
    {
        s.MakeDisk(3, holes: 1);
        ModelSession session = s.AddSession();
        s.Reader(() => Assert.Null(session.AskStatus(0, 3 * G)));
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
    });

    // O5: only the first granule decides between an answer and an error.
    [Fact]
    public void A_status_query_against_a_discard_of_a_later_granule() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(3);
        s.Reader(() => Assert.Null(session.AskStatus(0, 3 * G)));
        s.Reader(() => session.Consume(G, G));
    });

    [Fact]
    public void A_status_query_against_a_discard_of_its_first_granule() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(2);
        s.Reader(() => session.AskStatus(0, 2 * G));
        s.Reader(() => session.AskStatus(G, G));
        s.Reader(() => session.Consume(0, 2 * G));
    });

    // Freed temp says that it holds nothing; that must not be passed on as zeros of the instant.
    [Fact]
    public void A_status_query_against_a_discard_of_copied_granules() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = s.Start(2);
        s.Write(0, 2 * G, 0xA1);
        s.Reader(() => session.AskStatus(0, 2 * G));
        s.Reader(() => session.Consume(0, 2 * G));
    });

    [Fact]
    public void A_walk_of_the_map_against_a_write_and_a_discard() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(3);
        s.Reader(() => session.Walk());
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Reader(() => session.Consume(G, 2 * G));
    });

    [Fact]
    public void What_a_walk_calls_refused_stays_refused() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(2);
        s.Reader(() =>
        {
            bool[] first = session.Walk();
            bool[] second = session.Walk();
            Assert.DoesNotContain(first.Zip(second), pair => pair is { First: true, Second: false });
        });
        s.Reader(() => session.Consume(0, G));
        s.Reader(() => session.Consume(G, G));
    });

    // A reader that plans with it must not end early because the head of what is left was consumed just now.
    [Fact]
    public void The_next_readable_range_is_found_behind_a_discard() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(2);
        s.Reader(() => Assert.Equal(2 * G, session.Point.Snapshot.NextReadable(0, 2 * G).EndBytes));
        s.Reader(() => session.Consume(0, G));
        s.AtEnd(() => Assert.Equal(new BlockRange(G, G), session.Point.Snapshot.NextReadable(0, 2 * G)));
    });
}
