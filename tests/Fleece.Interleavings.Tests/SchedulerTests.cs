// SPDX-License-Identifier: MIT
namespace Fleece.Interleavings;

/// <summary>The tester itself: it finds the faults it is meant to find, in programs small enough to see them.</summary>
public sealed class SchedulerTests
{
    // The classic: both read the counter before either writes it. One preemption shows it.
    [Fact]
    public void A_lost_update_is_found_and_its_schedule_replays_it()
    {
        string message = Assert.Throws<InvalidOperationException>(() => Explorer.Exhaust(1, LostUpdate)).Message;
        string schedule = message.Split("FLEECE_SCHEDULE=")[1].Split('\n')[0];

        Assert.NotNull(Explorer.Follow(schedule, LostUpdate));
    }

    [Fact]
    public void A_lost_update_does_not_show_without_a_preemption() => Explorer.Exhaust(0, LostUpdate);

    [Fact]
    public void A_lost_update_is_found_by_random_schedules() =>
        Assert.Throws<InvalidOperationException>(() => Explorer.Sample(1000, 2, LostUpdate));

    [Fact]
    public void Two_locks_taken_in_opposite_orders_deadlock()
    {
        string message = Assert.Throws<InvalidOperationException>(() => Explorer.Exhaust(1, OppositeLocks)).Message;

        Assert.StartsWith("deadlock", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_wait_that_nobody_ends_is_a_deadlock()
    {
        TaskCompletionSource never = new();

        string message = Assert.Throws<InvalidOperationException>(() => Explorer.Exhaust(0, s =>
        {
            s.Start(1);
            s.Guest(() => Interleaving.Wait(never.Task, CancellationToken.None));
        })).Message;

        Assert.StartsWith("deadlock", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_thread_that_spins_is_reported()
    {
        string message = Assert.Throws<InvalidOperationException>(() => Explorer.Exhaust(0, s =>
        {
            s.Start(1);
            s.Guest(() =>
            {
                while (true)
                {
                    Interleaving.Point("spins");
                }
            });
        })).Message;

        Assert.StartsWith("no end", message, StringComparison.Ordinal);
    }

    // Three threads of one point each: 3! orders of the beginnings and every place to be preempted.
    [Fact]
    public void Every_order_of_three_threads_is_seen_once()
    {
        List<string> orders = [];

        Explorer.Exhaust(0, s =>
        {
            s.Start(1);
            string order = "";
            s.Guest(() => order += "a");
            s.Guest(() => order += "b");
            s.Guest(() => order += "c");
            s.AtEnd(() => orders.Add(order));
        });

        Assert.Equal(["abc", "acb", "bac", "bca", "cab", "cba"], orders.Order(StringComparer.Ordinal));
    }

    // The oracles without the filter in between: a guest that writes straight to the disk is caught.
    [Fact]
    public void A_write_around_the_filter_breaks_I2()
    {
        string message = Assert.Throws<InvalidOperationException>(() => Explorer.Exhaust(0, s =>
        {
            s.Start(1);
            s.Guest(() => Scenario.Complete(s.Disk.DiscardAsync(0, Scenario.G, CancellationToken.None)));
        })).Message;

        Assert.StartsWith("I2", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_snapshot_request_that_waits_breaks_I3()
    {
        string message = Assert.Throws<InvalidOperationException>(() => Explorer.Exhaust(0, s =>
        {
            s.Start(1);
            s.Reader(() => Interleaving.Wait(Task.CompletedTask, CancellationToken.None));
        })).Message;

        Assert.StartsWith("I3", message, StringComparison.Ordinal);
    }

    private static void LostUpdate(Scenario s)
    {
        s.Start(1);
        int counter = 0;
        for (int i = 0; i < 2; i++)
        {
            s.Guest(() =>
            {
                int seen = counter;
                Interleaving.Point("counts");
                counter = seen + 1;
            });
        }

        s.AtEnd(() => Assert.Equal(2, counter));
    }

    private static void OppositeLocks(Scenario s)
    {
        s.Start(1);
        ControlledLock first = new();
        ControlledLock second = new();
        s.Guest(() => TakeBoth(first, second));
        s.Guest(() => TakeBoth(second, first));
    }

    private static void TakeBoth(ControlledLock first, ControlledLock second)
    {
        using (first.EnterScope())
        using (second.EnterScope())
        {
            Interleaving.Point("holds both");
        }
    }
}
