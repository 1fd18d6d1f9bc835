// SPDX-License-Identifier: MIT
using Fleece.Nbd.Server.Buffers;
using Fleece.Nbd.Server.Replies;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>What becomes of a connection whose late replies nobody can send.</summary>
public sealed class ReplyWriterTests
{
    [Fact]
    public async Task A_connection_that_gets_no_thread_for_its_late_replies_ends_and_lets_its_requests_go()
    {
        using MemoryStream stream = new();
        using CancellationTokenSource ended = new();
        MemoryBudget budget = new(64 * 1024 * 1024);
        InFlightLimit inFlight = new();
        using (ReplyWriter replies = new(stream, new ReplyFormat(false, false), budget, inFlight, ended, "test")
        {
#pragma warning disable CA2201 // What the runtime throws where the system has no more threads.
            StartThread = static _ => throw new OutOfMemoryException(),
#pragma warning restore CA2201
        })
        {
            for (int i = 0; i < 2; i++)
            {
                inFlight.Enter(512);
                replies.PostShort(new RequestHeader(default, NbdCommand.Write, (ulong)i, 0, 512), default, 512);
            }

            Assert.True(ended.IsCancellationRequested);
            Assert.False(stream.CanWrite);
            await OwnThread.Run(inFlight.Drain).WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);
        }

        Assert.Equal(0, budget.UsedBytes);
    }
}
