// SPDX-License-Identifier: MIT
namespace Fleece.Interleavings.Scenarios;

/// <summary>Two consumers confirm while guests write: what both have confirmed goes, once, and nothing else does.</summary>
public sealed class TwoConsumers
{
    private const int G = Scenario.G;

    [Fact]
    public void Confirmations_that_meet_consume_what_they_have_in_common_once() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = Start(s, 3);
        s.Reader(() => session.Consume(0, 2 * G, consumer: 0));
        s.Reader(() => session.Consume(G, 2 * G, consumer: 1));
        s.AtEnd(() =>
        {
            Assert.Equal(G, session.Point.ConsumedBytes);
            Assert.Equal([2L * G, 2L * G], session.Point.Consumers.Select(consumer => consumer.ConfirmedBytes));
            Assert.Equal([false, true, false], session.Walk());
        });
    });

    [Fact]
    public void Confirmations_against_a_running_copy() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = Start(s, 2);
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Reader(() => session.Consume(0, 2 * G, consumer: 0));
        s.Reader(() => session.Consume(0, G, consumer: 1));
        s.AtEnd(() => Assert.Equal(G, session.Point.ConsumedBytes));
    });

    // Until its own confirmation a consumer reads what the other one has confirmed, whatever the guest does meanwhile.
    [Fact]
    public void A_consumer_reads_on_while_the_other_confirms_and_the_guest_writes() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = Start(s, 2);
        s.Reader(() => session.Consume(0, 2 * G, consumer: 0));
        s.Reader(() =>
        {
            Assert.Null(session.Read(0, 2 * G, consumer: 1));
            session.Consume(0, 2 * G, consumer: 1);
        });
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.AtEnd(() => Assert.Equal(2 * G, session.Point.ConsumedBytes));
    });

    [Fact]
    public void Discarding_for_everybody_against_a_confirmation() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = Start(s, 2);
        s.Reader(() => session.Consume(0, 2 * G));
        s.Reader(() => session.Consume(0, G, consumer: 1));
        s.AtEnd(() =>
        {
            Assert.Equal(2 * G, session.Point.ConsumedBytes);
            Assert.Equal([2L * G, 2L * G], session.Point.Consumers.Select(consumer => consumer.ConfirmedBytes));
        });
    });

    private static ModelSession Start(Scenario s, int granules)
    {
        s.Consumers = ["local", "offsite"];
        return s.Start(granules);
    }
}
