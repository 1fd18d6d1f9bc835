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
        s.MakeDisk(3, hole: 1);
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
}
