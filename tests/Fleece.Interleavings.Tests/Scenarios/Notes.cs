// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Interleavings.Scenarios;

/// <summary>
/// The order of notes and changes (I10): at every change of disk and temp, a process that went on from the notes would read the instant.
/// </summary>
public sealed class Notes
{
    private const int G = Scenario.G;

    [Fact]
    public void Two_overlapping_writes_find_granules_done_behind_their_note() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = Start(s, 2);
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Guest(() => s.Write(G, G, 0xA2));
        s.AtEnd(() => Assert.Equal(2 * G, session.Point.CopiedBytes));
    });

    [Fact]
    public void A_write_goes_on_without_a_copy_behind_the_note_of_the_discard() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = Start(s, 2);
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Reader(() => session.Consume(0, 2 * G));
    });

    [Fact]
    public void A_discard_of_what_is_copied_frees_it_behind_the_note() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = Start(s, 2);
        s.Write(0, G, 0xA1);
        s.Guest(() => s.Write(0, 2 * G, 0xA2));
        s.Reader(() => session.Consume(0, G));
    });

    [Fact]
    public void A_write_goes_on_without_a_copy_behind_the_note_of_the_break() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = Start(s, 2);
        session.Temp.FailingWrites = 1;
        s.Guest(() => Assert.Null(s.Write(0, G, 0xA1)));
        s.Guest(() => Assert.Null(s.Write(G, G, 0xA2)));
        s.AtEnd(() => Assert.Same(session.Point.BrokenBy, Assert.Single(session.Journal!.Causes)));
    });

    [Fact]
    public void The_first_cause_of_two_breaks_is_noted_and_no_other() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = Start(s, 1);
        foreach (string kind in new[] { BlockErrors.NoSpace, BlockErrors.IoFailed })
        {
            s.Guest(() => session.Point.Break(new BlockException(kind, "temp failed")));
        }

        s.Guest(() => Assert.Null(s.Write(0, G, 0xA1)));
        s.AtEnd(() => Assert.Same(session.Point.BrokenBy, Assert.Single(session.Journal!.Causes)));
    });

    // The session closes its log behind the stop.
    [Fact]
    public void Nothing_is_noted_behind_a_stop() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = Start(s, 1);
        s.Guest(() => Assert.Null(s.Write(0, G, 0xA1)));
        s.Guest(() =>
        {
            session.Point.Stop();
            session.Journal!.IsClosed = true;
        });
    });

    [Fact]
    public void A_discard_and_a_break_note_nothing_behind_a_stop() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = Start(s, 1);
        s.Reader(() =>
        {
            try
            {
                session.Consume(0, G);
            }
            catch (BlockException e) when (e.Kind is BlockErrors.Stopped or BlockErrors.Broken)
            {
            }
        });
        s.Guest(() => session.Point.Break(new BlockException(BlockErrors.IoFailed, "the disk failed")));
        s.Guest(() =>
        {
            session.Point.Stop();
            session.Journal!.IsClosed = true;
        });
    });

    [Fact]
    public void The_last_confirmation_is_the_note_of_the_discard() => Explorer.Exhaust(2, s =>
    {
        s.Consumers = ["local", "offsite"];
        ModelSession session = Start(s, 2);
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Reader(() => session.Consume(0, 2 * G, consumer: 0));
        s.Reader(() => session.Consume(0, G, consumer: 1));
        s.AtEnd(() => Assert.Equal(G, session.Point.ConsumedBytes));
    });

    // The write whose copy is not noted copies again or breaks the session; none goes uncopied.
    [Theory]
    [InlineData(CopyErrorPolicy.BreakSnapshot)]
    [InlineData(CopyErrorPolicy.BreakGuestWrite)]
    public void A_log_without_room_fails_one_copy_of_two(CopyErrorPolicy policy) => Explorer.Exhaust(2, s =>
    {
        ModelSession session = Start(s, 1, policy);
        session.Journal!.FailingNotes = 1;
        List<string?> results = [];
        s.Guest(() => results.Add(s.Write(0, G, 0xA1)));
        s.Guest(() => results.Add(s.Write(0, G, 0xA2)));
        s.AtEnd(() =>
        {
            bool breaks = policy == CopyErrorPolicy.BreakSnapshot;
            Assert.Equal(breaks ? BlockErrors.SessionLogFull : null, session.Point.BrokenBy?.Kind);
            Assert.Equal(breaks ? 0 : 1, results.Count(result => result == BlockErrors.SessionLogFull));
        });
    });

    [Fact]
    public void A_discard_without_room_in_the_log_leaves_the_granule_to_be_copied() => Explorer.Exhaust(2, s =>
    {
        ModelSession session = Start(s, 1, CopyErrorPolicy.BreakGuestWrite);
        session.Journal!.FailingNotes = 1;
        List<string?> results = [];
        s.Guest(() => results.Add(s.Write(0, G, 0xA1)));
        s.Reader(() =>
        {
            try
            {
                session.Consume(0, G);
            }
            catch (BlockException e)
            {
                results.Add(e.Kind);
                Assert.Equal([false], session.Walk());
            }
        });
        s.AtEnd(() => Assert.Single(results, BlockErrors.SessionLogFull));
    });

    // A log that begins to write the maps hears of all changes that they lack.
    [Fact]
    public void Maps_read_between_changes_have_all_that_was_noted_before() => Explorer.Exhaust(3, s =>
    {
        ModelSession session = Start(s, 2);
        s.Guest(() => s.Write(0, G, 0xA1));
        s.Reader(() => session.Consume(G, G));
        s.Guest(() => session.Point.BetweenChanges(() =>
        {
            Assert.Equal(session.Point.Done.Contains(0), session.Journal!.IsReadFromTemp(0));
            Assert.Equal(session.Point.Refused.Contains(1), !session.Journal!.IsReadFromDisk(1));
        }));
    });

    private static ModelSession Start(Scenario s, int granules, CopyErrorPolicy policy = CopyErrorPolicy.BreakSnapshot)
    {
        s.KeepsNotes = true;
        return s.Start(granules, policy);
    }
}
