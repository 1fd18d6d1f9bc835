// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Qemu.Reading;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Reading;

/// <summary>Many readers and a guest at once, against a model.</summary>
public sealed class SnapshotModelTests
{
    private const int Cluster = SnapshotRig.ClusterBytes;

    // FLEECE_QEMU_ROUNDS makes the proof longer.
    private static readonly int Rounds = int.Parse(
        Environment.GetEnvironmentVariable("FLEECE_QEMU_ROUNDS") ?? "150", NumberStyles.None, CultureInfo.InvariantCulture);

    private readonly Seeds _seeds = Seeds.FromEnvironment();

    public static TheoryData<string, bool, int> Cases
    {
        get
        {
            TheoryData<string, bool, int> cases = [];
            foreach (string program in SnapshotRig.Programs.Select(row => row.Data))
            {
                cases.Add(program, false, 128 * Cluster);
                cases.Add(program, false, 128 * Cluster + 20480);
                cases.Add(program, true, 128 * Cluster);
                cases.Add(program, true, 127 * Cluster + 512);
            }

            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Readers_see_the_instant_whatever_the_guest_and_they_do(string program, bool hasBitmap, int diskBytes)
    {
        byte[] content = RandomContent(diskBytes);
        Model model = new(content, hasBitmap ? RandomRanges(diskBytes) : null);
        await using SnapshotRig rig = await SnapshotRig.StartAsync(program, content, model.Dirty);
        await using (QemuSnapshot snapshot = await rig.OpenAsync())
        {
            List<Task> working = [OwnThread.Run(() => Guest(rig, _seeds.Fork()))];
            for (int i = 0; i < 3; i++)
            {
                Seeds reads = _seeds.Fork();
                Seeds statuses = _seeds.Fork();
                working.Add(OwnThread.Run(() => Repeat(Rounds, () => ReadAsync(snapshot, model, reads))));
                working.Add(OwnThread.Run(() => Repeat(Rounds, () => AskAsync(snapshot, model, statuses))));
            }

            // Few, so that readers have something left.
            Seeds discards = _seeds.Fork();
            working.Add(OwnThread.Run(() => Repeat(Rounds / 8, () => DiscardAsync(snapshot, model, discards))));
            await Task.WhenAll(working);

            await CheckRestAsync(snapshot, model);
        }

        await rig.CheckAliveAsync();
    }

    private static void Guest(SnapshotRig rig, Seeds seeds) => Repeat(Rounds, async () =>
    {
        // Short, so that both kinds of clusters stay side by side.
        BlockRange range = Shorten(seeds.Range(rig.Content.Length), seeds);
        await (seeds.Next(4) switch
        {
            0 => rig.Guest.WriteZeroesAsync(range.OffsetBytes, range.LengthBytes, WriteFlags.None, CancellationToken.None),
            1 => rig.Guest.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None),
            _ => rig.Guest.WriteAsync(range.OffsetBytes, seeds.Bytes(range.LengthBytes), WriteFlags.None, CancellationToken.None),
        });
    });

    private static async Task ReadAsync(QemuSnapshot snapshot, Model model, Seeds seeds)
    {
        BlockRange range = seeds.Range(model.Content.Length);
        byte[] read = new byte[range.LengthBytes];
        bool wasConsumed = model.HasConsumed(range);
        try
        {
            await snapshot.Snapshot.ReadAsync(range.OffsetBytes, read, CancellationToken.None);
            Assert.False(model.HasDenied(range) || wasConsumed, $"{range} was read, and is refused");
            Assert.True(read.AsSpan().SequenceEqual(model.Of(range)), $"{range} is not as it was at the instant");
        }
        catch (BlockException refusal) when (refusal.Kind is BlockErrors.Denied or BlockErrors.Consumed)
        {
            Assert.True(refusal.Kind == BlockErrors.Denied ? model.HasDenied(range) : model.HasBegunToConsume(range), refusal.Message);
        }
    }

    private static async Task AskAsync(QemuSnapshot snapshot, Model model, Seeds seeds)
    {
        BlockRange range = seeds.Range(model.Content.Length);
        if (range.IsEmpty)
        {
            return;
        }

        BlockRange first = new(range.OffsetBytes, 1);
        try
        {
            BlockStatusRun run = await snapshot.Snapshot.GetStatusAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
            BlockRange told = new(range.OffsetBytes, run.LengthBytes);
            Assert.InRange(run.LengthBytes, 1, range.LengthBytes);
            Assert.False(model.HasDenied(told), $"{told} has a status, and is denied");
            Assert.True(!run.ReadsAsZero || !model.Of(told).ContainsAnyExcept((byte)0), $"{told} is told as zeros");
        }
        catch (BlockException refusal) when (refusal.Kind is BlockErrors.Denied or BlockErrors.Consumed)
        {
            Assert.True(refusal.Kind == BlockErrors.Denied ? model.HasDenied(first) : model.HasBegunToConsume(first), refusal.Message);
        }
    }

    private static async Task DiscardAsync(QemuSnapshot snapshot, Model model, Seeds seeds)
    {
        BlockRange range = Shorten(seeds.Range(model.Content.Length), seeds);
        if (seeds.Chance(5))
        {
            range = BlockRange.FromEnds(model.Content.Length - seeds.Next(2 * Cluster), model.Content.Length);
        }

        model.BeginToConsume(range);
        await snapshot.Snapshot.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
        model.EndConsuming(range);
    }

    private static async Task CheckRestAsync(QemuSnapshot snapshot, Model model)
    {
        long readableBytes = 0;
        int diskBytes = model.Content.Length;
        for (BlockRange next = snapshot.NextReadable(0, diskBytes); !next.IsEmpty; next = snapshot.NextReadable(next.EndBytes, diskBytes))
        {
            byte[] read = new byte[next.LengthBytes];
            await snapshot.Snapshot.ReadAsync(next.OffsetBytes, read, CancellationToken.None);
            Assert.True(read.AsSpan().SequenceEqual(model.Of(next)), $"{next} is not as it was at the instant");
            readableBytes += next.LengthBytes;
        }

        Assert.Equal(model.ConsumedBytes, snapshot.ConsumedBytes);
        Assert.Equal(diskBytes - model.DeniedBytes - model.ConsumedBytes, readableBytes);
    }

    private static BlockRange Shorten(BlockRange range, Seeds seeds) =>
        new(range.OffsetBytes, Math.Min(range.LengthBytes, seeds.Next(3 * Cluster)));

    private static void Repeat(int count, Func<Task> action)
    {
        for (int i = 0; i < count; i++)
        {
            action().GetAwaiter().GetResult();
        }
    }

    private byte[] RandomContent(int diskBytes)
    {
        byte[] content = _seeds.Bytes(diskBytes);
        for (int i = 0; i < 12; i++)
        {
            int offset = _seeds.Next(diskBytes / 4096) * 4096;
            content.AsSpan(offset, Math.Min(diskBytes - offset, _seeds.Next(60) * 4096)).Clear();
        }

        return content;
    }

    private BlockRange[] RandomRanges(int diskBytes) =>
        [.. Enumerable.Range(0, 5).Select(_ => RandomRange(diskBytes)), new BlockRange(diskBytes - 1, 1)];

    private BlockRange RandomRange(int diskBytes)
    {
        int offset = _seeds.Next(diskBytes);
        return new BlockRange(offset, 1 + _seeds.Next(Math.Min(diskBytes - offset, 12 * Cluster)));
    }

    // Clusters only go from readable to consumed, so a flag for each is enough, and order among threads is that of its setting.
    private sealed class Model(byte[] content, BlockRange[]? dirty)
    {
        private readonly Granules _clusters = new(content.Length, Cluster);
        private readonly GranuleMap _begun = new((content.Length + Cluster - 1) / Cluster);
        private readonly GranuleMap _ended = new((content.Length + Cluster - 1) / Cluster);

        public byte[] Content => content;

        public BlockRange[]? Dirty => dirty;

        public long DeniedBytes => Count(cluster => IsDenied(cluster));

        public long ConsumedBytes => Count(cluster => !IsDenied(cluster) && _ended.Contains(cluster));

        public ReadOnlySpan<byte> Of(BlockRange range) => content.AsSpan((int)range.OffsetBytes, (int)range.LengthBytes);

        public bool HasDenied(BlockRange range) => Any(range, IsDenied);

        public bool HasBegunToConsume(BlockRange range) => Any(range, _begun.Contains);

        public bool HasConsumed(BlockRange range) => Any(range, _ended.Contains);

        // One thread discards.
        public void BeginToConsume(BlockRange range) => _begun.Add(_clusters.Within(range));

        public void EndConsuming(BlockRange range) => _ended.Add(_clusters.Within(range));

        private bool IsDenied(long cluster) =>
            dirty?.Any(range => _clusters.Cover(range.OffsetBytes, range.LengthBytes).Overlaps(new(cluster, cluster + 1))) == false;

        private bool Any(BlockRange range, Func<long, bool> isSo)
        {
            GranuleRun run = _clusters.Cover(range.OffsetBytes, range.LengthBytes);
            for (long cluster = run.Start; cluster < run.End; cluster++)
            {
                if (isSo(cluster))
                {
                    return true;
                }
            }

            return false;
        }

        private long Count(Func<long, bool> isSo)
        {
            long bytes = 0;
            for (long cluster = 0; cluster < _clusters.Count; cluster++)
            {
                bytes += isSo(cluster) ? _clusters.Bytes(new GranuleRun(cluster, cluster + 1)).LengthBytes : 0;
            }

            return bytes;
        }
    }
}
