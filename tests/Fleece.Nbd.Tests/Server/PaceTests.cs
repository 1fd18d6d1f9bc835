// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block;
using Fleece.Nbd.Server.Requests;

namespace Fleece.Nbd.Tests.Server;

public sealed class PaceTests
{
    private const int Requests = 64;
    private const int RequestBytes = 4096;

    [Fact]
    public void Storage_that_puts_its_thread_to_sleep_is_slow()
    {
        Pace pace = Pace.OfReads();

        for (int i = 0; i < Requests; i++)
        {
            Pace.Start start = pace.Begin();
            Thread.Sleep(1);
            pace.Note(start, RequestBytes, Stopwatch.GetTimestamp());
        }

        Assert.True(pace.IsSlow);
    }

    [Fact]
    public void A_thread_that_is_kept_busy_does_not_make_its_storage_slow()
    {
        Assert.SkipWhen(ThreadSleeps.Count() == ThreadSleeps.Unknown, "This system does not count a thread's sleeps.");
        Pace pace = Pace.OfReads();
        bool wasSlow = false;

        for (int i = 0; i < Requests; i++)
        {
            Pace.Start start = pace.Begin();
            for (long at = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(at).TotalMilliseconds < 1;)
            {
            }

            pace.Note(start, RequestBytes, Stopwatch.GetTimestamp());
            wasSlow |= pace.IsSlow;
        }

        Assert.False(wasSlow);
    }

    [Fact]
    public void Storage_that_is_quick_again_is_not_slow_for_long()
    {
        Pace pace = Pace.OfReadsStartedAhead();
        for (int i = 0; i < Requests; i++)
        {
            Pace.Start start = pace.Begin();
            Thread.Sleep(1);
            pace.Note(start, RequestBytes, Stopwatch.GetTimestamp());
        }

        for (int i = 0; i < Requests; i++)
        {
            pace.Note(pace.Begin(), RequestBytes, Stopwatch.GetTimestamp());
        }

        Assert.False(pace.IsSlow);
    }
}
