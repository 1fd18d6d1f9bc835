// SPDX-License-Identifier: MIT
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Reads of slow storage, of which a client has sent many at once.</summary>
public sealed class LookaheadTests
{
    private const int MiB = 1024 * 1024;
    private const int DiskBytes = 64 * MiB;
    private const int Read = (int)NbdCommand.Read;

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Extended)]
    public async Task Reads_that_wait_are_started_before_they_are_served_and_answered_right(HeaderMode mode)
    {
        ColdNode node = new(DiskBytes);
        await using ServedDisk disk = new(node);
        Seeds seeds = Seeds.FromEnvironment();
        byte[] content = seeds.Bytes(256 * 4096);
        await disk.Device.WriteAsync(0, content);
        using RawClient client = disk.Go(mode);
        Dictionary<ulong, ulong> asked = [];
        for (ulong i = 0; i < 200; i++)
        {
            asked.Add(client.Begin(Read, i * 4096, 4096), i * 4096);
        }

        foreach ((ulong cookie, Answer answer) in client.ReadAnswers(200))
        {
            Assert.Equal(content[(int)asked[cookie]..][..4096], answer.Data(asked[cookie], 4096));
        }

        // Two reads must have been slow before anybody looks ahead.
        Assert.InRange(node.StartedCount, 150, 200);
        Assert.InRange(node.SleptCount, 1, 50);
    }

    [Fact]
    public async Task No_more_is_started_than_a_bounded_number_of_bytes()
    {
        ColdNode node = new(DiskBytes);
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go();
        for (ulong i = 0; i < 64; i++)
        {
            client.Begin(Read, i * MiB, MiB);
        }

        client.ReadAnswers(64);

        Assert.InRange(node.MostAheadBytes, 2 * MiB, 17 * MiB);
    }

    [Fact]
    public async Task A_read_that_is_refused_is_not_started()
    {
        ColdNode node = new(DiskBytes);
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go();
        List<ulong> refused = [];
        for (ulong i = 0; i < 32; i++)
        {
            client.Begin(Read, i * 4096, 4096);
            refused.Add(client.Begin(Read, DiskBytes - 512, 4096));
        }

        Dictionary<ulong, Answer> answers = client.ReadAnswers(64);

        Assert.All(answers, answer => Assert.Equal(refused.Contains(answer.Key), answer.Value.Error != NbdError.None));
        Assert.InRange(node.StartedCount, 1, 32);
    }

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(long.MaxValue)]
    [InlineData(1UL << 40)]
    public async Task A_length_that_nobody_sends_is_looked_at_without_harm(ulong lengthBytes)
    {
        ColdNode node = new(DiskBytes);
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go(HeaderMode.Extended);
        for (ulong i = 0; i < 8; i++)
        {
            client.Begin(Read, i * 4096, 4096);
        }

        client.Begin((int)NbdCommand.Write, 0, lengthBytes, (int)CommandFlags.PayloadLength);
        client.Begin(Read, MiB, 4096);

        Assert.All(client.ReadAnswers(8), answer => Assert.Equal(NbdError.None, answer.Value.Error));
        client.AssertClosed();
        Assert.InRange(node.StartedCount, 1, 8);
    }
}
