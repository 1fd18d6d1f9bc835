// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Interleavings.Scenarios;

/// <summary>Sessions that end while requests run: I6, and the guest always comes through.</summary>
public sealed class BreaksAndStops
{
    private const int G = Scenario.G;

    // O1, hazard 2: the second write goes past the broken session while the read is still in flight.
    [Fact]
    public void O1_a_read_in_flight_when_the_session_breaks_returns_no_torn_bytes() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(2);
        session.Temp.FailingWrites = 1;
        s.Reader(() => Assert.Contains(session.Read(0, 2 * G), new string?[] { null, BlockErrors.Broken }));
        s.Guest(() =>
        {
            Assert.Null(s.Write(0, G, 0xA1));
            Assert.Null(s.Write(G, G, 0xA2));
        });
        s.AtEnd(() => Assert.Equal(SessionState.Broken, session.Point.State));
    });

    // The write waits for the frozen read when the session breaks; the end of the scenario shows that it got through.
    [Fact]
    public void A_break_against_a_write_that_waits_for_a_frozen_read() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(1);
        s.Reader(() => session.Read(0, G));
        s.Guest(() => Assert.Null(s.Write(0, G, 0xA1)));
        s.Guest(() => session.Point.Break(new BlockException(BlockErrors.NoSpace, "temp is full")));
    });

    // The read does not end before the write has: whoever still holds the guest back then shows as a deadlock.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_session_that_is_over_lets_a_write_go_whose_read_never_ends(bool isStop) => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(1);
        bool isWritten = false;
        s.Reader(() => session.Read(0, G, answeredWhen: () => isWritten));
        s.Guest(() => isWritten = s.Write(0, G, 0xA1) is null);
        s.Guest(isStop ? session.Point.Stop : Break);

        void Break() => session.Point.Break(new BlockException(BlockErrors.NoSpace, "temp is full"));
    });

    // The same with a copy that does not end: the one write of the two that copies is held until the other is through.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_session_that_is_over_lets_a_write_go_whose_copy_never_ends(bool isStop) => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(1);
        bool isWritten = false;
        session.Temp.AnswersWritesWhen = () => isWritten;
        s.Guest(() => isWritten = s.Write(0, G, 0xA1) is null);
        s.Guest(() => isWritten = s.Write(0, G, 0xA2) is null);
        s.Guest(isStop ? session.Point.Stop : Break);

        void Break() => session.Point.Break(new BlockException(BlockErrors.NoSpace, "temp is full"));
    });

    [Fact]
    public void A_failing_copy_against_a_write_that_waits_for_it() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = s.Start(1);
        session.Temp.FailingWrites = 1;
        s.Guest(() => Assert.Null(s.Write(0, G, 0xA1)));
        s.Guest(() => Assert.Null(s.Write(0, G, 0xA2)));
        s.AtEnd(() => Assert.Equal(BlockErrors.NoSpace, session.Point.BrokenBy!.Kind));
    });

    // Exactly one of the two fails: the one whose copy failed. The other copies for itself, and the session stays
    // whole.
    [Fact]
    public void Two_overlapping_writes_when_the_policy_is_to_fail_the_write() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(3, CopyErrorPolicy.BreakGuestWrite);
        session.Temp.FailingWrites = 1;
        List<string?> results = [];
        s.Guest(() => results.Add(s.Write(0, 2 * G, 0xA1)));
        s.Guest(() => results.Add(s.Write(G, 2 * G, 0xA2)));
        s.AtEnd(() => Assert.Single(results, BlockErrors.TempFull));
        s.AtEnd(() => Assert.Equal(SessionState.Active, session.Point.State));
    });

    [Fact]
    public void A_failing_write_against_a_read_of_a_session_that_stays_whole() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(2, CopyErrorPolicy.BreakGuestWrite);
        session.Temp.FailingWrites = 1;
        s.Reader(() => Assert.Null(session.Read(0, 2 * G)));
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Guest(() => s.Write(G, G, 0xA2));
    });

    [Fact]
    public void A_stop_against_a_read_and_a_write() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(2);
        s.Reader(() => Assert.Contains(session.Read(0, 2 * G), new string?[] { null, BlockErrors.Stopped }));
        s.Guest(() => Assert.Null(s.Write(0, 2 * G, 0xA1)));
        s.Guest(() => session.Point.Stop());
    });

    // Once the session is over its copies matter to nobody, so a failing one must not fail the guest.
    [Fact]
    public void A_stop_against_a_copy_that_fails() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = s.Start(1, CopyErrorPolicy.BreakGuestWrite);
        bool wasOver = false;
        session.Temp.FailingWrites = 1;
        session.Temp.Changing = _ => wasOver = session.Point.State != SessionState.Active;
        s.Guest(() =>
        {
            string? error = s.Write(0, G, 0xA1);
            Assert.False(wasOver && error is not null, $"the write failed with {error} for a session that was over");
        });
        s.Guest(session.Point.Stop);
    });

    [Fact]
    public void The_first_cause_of_two_breaks_stays() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.Start(1);
        List<BlockException?> seen = [];
        foreach (string kind in new[] { BlockErrors.NoSpace, BlockErrors.IoFailed })
        {
            s.Guest(() =>
            {
                session.Point.Break(new BlockException(kind, "temp failed"));
                seen.Add(session.Point.BrokenBy);
            });
        }

        s.AtEnd(() => Assert.All(seen, cause => Assert.Same(session.Point.BrokenBy, cause)));
    });
}
