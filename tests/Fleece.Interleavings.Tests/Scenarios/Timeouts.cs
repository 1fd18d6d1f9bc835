// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.TestKit;

namespace Fleece.Interleavings.Scenarios;

/// <summary>Copies that go on when their guest has left: before, after and while everything else happens.</summary>
public sealed class Timeouts
{
    private const int G = Scenario.G;

    // Whether the copy ends before the time or after the guest: the read is right, and no write has touched the disk too early.
    [Fact]
    public void A_guest_that_leaves_its_copy_against_a_read() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.StartTimed(2, CopyErrorPolicy.BreakGuestWrite);
        s.Guest(() => Assert.Contains(s.Write(0, 2 * G, 0xA1), new string?[] { null, BlockErrors.CopyTimedOut }));
        s.Reader(() => Assert.Null(session.Read(0, 2 * G)));
        s.Clock();
        s.AtEnd(() => Assert.True(session.Point.Done.Contains(0) && session.Point.Done.Contains(1), "the copy that went on is not done"));
    });

    // The second write finds the copy of the first running, or done, or claims its own.
    [Fact]
    public void A_guest_that_leaves_its_copy_against_another_write() => Explorer.Exhaust(1, s =>
    {
        s.StartTimed(2, CopyErrorPolicy.BreakGuestWrite);
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Guest(() => s.Write(G, G, 0xA2));
        s.Clock();
    });

    [Fact]
    public void A_guest_that_comes_again_after_its_time() => Explorer.Exhaust(2, s =>
    {
        s.StartTimed(1, CopyErrorPolicy.BreakGuestWrite);
        s.Guest(() =>
        {
            if (s.Write(0, G, 0xA1) is not null)
            {
                Assert.Null(s.Write(0, G, 0xA2));
            }
        });
        s.Clock();
    });

    [Fact]
    public void A_copy_that_fails_after_its_guest_has_left() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.StartTimed(2, CopyErrorPolicy.BreakGuestWrite);
        session.Temp.FailingWrites = 1;
        s.Guest(() => Assert.NotNull(s.Write(0, 2 * G, 0xA1)));
        s.Reader(() => Assert.Null(session.Read(0, 2 * G)));
        s.Clock();
    });

    // W4: the guest writes on while the copy still reads the disk and stores what it finds.
    [Fact]
    public void A_break_by_time_lets_the_guest_go_on_and_no_read_returns_torn_bytes() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.StartTimed(2, CopyErrorPolicy.BreakSnapshot);
        s.Guest(() => Assert.Null(s.Write(0, 2 * G, 0xA1)));
        s.Reader(() => Assert.Contains(session.Read(0, 2 * G), new string?[] { null, BlockErrors.Broken }));
        s.Clock();
        s.AtEnd(() => Assert.Contains(session.Point.BrokenBy?.Kind, new string?[] { null, BlockErrors.CopyTimedOut }));
    });

    // I7: what the copy stores for granules that were consumed while nobody waited for it is freed all the same.
    [Fact]
    public void A_discard_against_a_copy_whose_guest_has_left() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.StartTimed(2, CopyErrorPolicy.BreakGuestWrite);
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Reader(() => session.Consume(0, G));
        s.Clock();
    });

    // The consumed granule is settled: a write goes past the copy that still runs over it.
    [Fact]
    public void A_discard_and_a_write_against_a_copy_whose_guest_has_left() => Explorer.Sample(3_000, 4, s =>
    {
        ModelSession session = s.StartTimed(2, CopyErrorPolicy.BreakGuestWrite);
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Reader(() => session.Consume(0, G));
        s.Guest(() => s.Write(0, G, 0xA2));
        s.Clock();
    });

    // Temp is closed when the wait is over, so nothing may touch it afterwards.
    [Fact]
    public void A_stop_waits_for_the_copies_whose_guests_have_left() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.StartTimed(2, CopyErrorPolicy.BreakGuestWrite);
        bool isClosed = false;
        session.Temp.Changing = _ => Assert.False(isClosed, "temp is written after it was closed");
        s.Guest(() =>
        {
            s.Write(0, 2 * G, 0xA1);
            session.Point.Stop();
            Scenario.Complete(session.Point.CopiesEndedAsync());
            isClosed = true;
        });
        s.Clock();
    });

    [Fact]
    public void A_stop_beside_a_write_that_waits_for_its_copy() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = s.StartTimed(1, CopyErrorPolicy.BreakGuestWrite);
        s.Guest(() => Assert.Contains(s.Write(0, G, 0xA1), new string?[] { null, BlockErrors.CopyTimedOut }));
        s.Guest(() =>
        {
            session.Point.Stop();
            Scenario.Complete(session.Point.CopiesEndedAsync());
        });
        s.Clock();
    });

    // The upper session's copy reads through the lower one's filter.
    [Fact]
    public void Two_sessions_whose_copies_time_out() => Explorer.Sample(3_000, 4, s =>
    {
        ModelSession older = s.StartTimed(1, CopyErrorPolicy.BreakGuestWrite);
        ModelSession newer = s.AddSession(CopyErrorPolicy.BreakGuestWrite);
        s.Guest(() => s.Write(0, G, 0xA1));
        s.Reader(() => Assert.Null(older.Read(0, G)));
        s.Reader(() => Assert.Null(newer.Read(0, G)));
        s.Clock();
    });

    // The budget of what is consumed comes back, once, whichever of copy and discard is first.
    [Fact]
    public void Temp_holds_what_was_copied_and_not_consumed() => Explorer.Exhaust(2, s =>
    {
        s.Limits = new CopyLimits { TempBytes = 2 * G };
        ModelSession session = s.Start(2, CopyErrorPolicy.BreakGuestWrite);
        s.Guest(() => Assert.Null(s.Write(0, 2 * G, 0xA1)));
        s.Reader(() => session.Consume(0, G));
        s.AtEnd(() => Assert.Equal(session.Point.Done.Contains(1) ? G : 0, session.Point.TempUsedBytes));
    });

    // One granule fits and two guests want one each: whoever comes last fails and changes nothing.
    [Fact]
    public void Temp_never_holds_more_than_its_limit() => Explorer.Exhaust(2, s =>
    {
        s.Limits = new CopyLimits { TempBytes = G };
        ModelSession session = s.Start(2, CopyErrorPolicy.BreakGuestWrite);
        session.Temp.Changing = _ => Assert.InRange(session.Temp.Stored.Count(isStored => isStored), 0, 1);
        List<string?> results = [];
        s.Guest(() => results.Add(s.Write(0, G, 0xA1)));
        s.Guest(() => results.Add(s.Write(G, G, 0xA2)));
        s.AtEnd(() => Assert.Equal(1, results.Count(result => result == BlockErrors.TempLimitReached)));
        s.AtEnd(() => Assert.Equal(G, session.Point.TempUsedBytes));
    });

    // The clock stands still: a write that is not woken shows as a deadlock. The other write is settled and waits for nothing.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_session_that_is_over_lets_a_write_go_that_is_held_back(bool isStop) => Explorer.Exhaust(2, s =>
    {
        s.Limits = new CopyLimits
        {
            TempBytes = 4 * G,
            TempWarningPercent = 1,
            MaxGuestDelay = TimeSpan.FromSeconds(1),
            Time = new ManualTime(),
        };
        ModelSession session = s.Start(3);
        s.Write(0, G, 0xA1);
        s.Guest(() => Assert.Null(s.Write(0, 2 * G, 0xA2)));
        s.Guest(() => Assert.Null(s.Write(0, G, 0xA3)));
        s.Guest(isStop ? session.Point.Stop : Break);
        s.AtEnd(() => Assert.Equal(G, session.Point.TempUsedBytes));

        void Break() => session.Point.Break(new BlockException(BlockErrors.NoSpace, "temp is full"));
    });
}
