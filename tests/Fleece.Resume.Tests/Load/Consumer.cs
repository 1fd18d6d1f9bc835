// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Resuming.Tests.Serving;
using Fleece.Resuming.Tests.Truth;
using Fleece.Resuming.Tests.Worlds;
using Fleece.TestKit;

namespace Fleece.Resuming.Tests.Load;

/// <summary>Reads the snapshots of a disk's sessions and consumes what it has read, over NBD or through the control socket.</summary>
internal sealed class Consumer(World world, WorldDisk disk, Seeds seeds) : IAsyncDisposable
{
    private readonly Dictionary<string, NbdNode> _nodes = [];
    private readonly byte[] _buffer = new byte[Marks.UnitBytes];

    /// <summary>Runs until the host is gone, or the token ends it between two requests.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            SessionTruth[] sessions;
            lock (disk.Truth.Lock)
            {
                sessions = [.. disk.Truth.Sessions.Where(session => session.CanBeRead && !session.IsJob)];
            }

            if (sessions.Length != 0)
            {
                SessionTruth session = sessions[seeds.Next(sessions.Length)];
                try
                {
                    await ConsumeAsync(session, session.Consumers[seeds.Next(session.Consumers.Count)]);
                }
                catch (BlockException e) when (Losses.IsLoss(e) || ControlClient.IsLoss(e))
                {
                    if (!disk.Truth.Sessions.Contains(session) || session.EndsWithSuccess is not null)
                    {
                        continue; // Stopped meanwhile, and its exports with it.
                    }

                    return;
                }
                catch (BlockException e)
                {
                    CheckIsGone(session, e);
                }
            }

            await Task.Delay(seeds.Next(10), CancellationToken.None);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (NbdNode node in _nodes.Values)
        {
            await node.DisposeAsync();
        }
    }

    // Stopped or broken meanwhile: nothing else explains that a reader fails.
    private void CheckIsGone(SessionTruth session, BlockException error)
    {
        lock (disk.Truth.Lock)
        {
            if (session.EndsWithSuccess is null && disk.Truth.Sessions.Contains(session) && !(session.MayBreak && Losses.IsBreak(error)))
            {
                throw new Finding($"a reader of the snapshot '{session.Id}' failed: {error.Kind}: {error.Message}");
            }
        }
    }

    private async Task ConsumeAsync(SessionTruth session, ConsumerTruth consumer)
    {
        int unit = seeds.Next(consumer.Clusters.Length);
        if (consumer.Clusters[unit] != Consumed.No || session.Limits is { } limits && !limits.Must[unit])
        {
            return;
        }

        NbdNode node = await GetNodeAsync(session, consumer);
        int count = Math.Min(Marks.UnitSectors, disk.Truth.SectorCount - unit * Marks.UnitSectors);
        Memory<byte> data = _buffer.AsMemory(0, count * Sectors.SizeBytes);
        BlockRange range = new((long)unit * Marks.UnitBytes, data.Length);
        await node.ReadAsync(range.OffsetBytes, data, CancellationToken.None);
        lock (disk.Truth.Lock)
        {
            for (int i = 0; i < count; i++)
            {
                session.Check(unit * Marks.UnitSectors + i, Sectors.Read(data.Span, i), "while the host runs");
            }
        }

        if (seeds.Chance(50))
        {
            return;
        }

        consumer.Clusters[unit] = Consumed.Maybe;
        if (seeds.Chance(50))
        {
            await node.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
        }
        else
        {
            string? name = consumer.Name.Length == 0 ? null : consumer.Name;
            await world.Control.DiscardAsync(session.Id, session.InstantId, name, range);
        }

        consumer.Clusters[unit] = Consumed.Yes;
    }

    private async Task<NbdNode> GetNodeAsync(SessionTruth session, ConsumerTruth consumer)
    {
        string key = $"{session.InstantId} {consumer.Name}";
        if (!_nodes.TryGetValue(key, out NbdNode? node))
        {
            _nodes[key] = node = await disk.ConnectAsync(session, consumer.Name);
        }

        return node;
    }
}
