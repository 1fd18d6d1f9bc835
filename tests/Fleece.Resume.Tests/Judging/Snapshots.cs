// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Resuming.Tests.Truth;
using Fleece.Resuming.Tests.Worlds;

namespace Fleece.Resuming.Tests.Judging;

/// <summary>Compares the snapshot of a session, as each of its consumers sees it, with the disk at the instant.</summary>
internal static class Snapshots
{
    private const int UnitBytes = Marks.UnitBytes;

    /// <summary>Reads the sectors that have several values still, so that they have one from now on.</summary>
    public static async Task PinAsync(WorldDisk disk, SessionTruth session)
    {
        int[] sectors;
        lock (disk.Truth.Lock)
        {
            sectors = session.Doubtful;
        }

        if (sectors.Length == 0)
        {
            return;
        }

        bool isRefused = false;
        await using NbdNode node = await disk.ConnectAsync(session, session.Consumers[0].Name);
        byte[] data = new byte[UnitBytes];
        foreach (int unit in sectors.Select(sector => sector / Marks.UnitSectors).Distinct().Order())
        {
            try
            {
                await ReadAsync(disk, session, node, unit, data, "right after the start");
            }
            catch (BlockException e) when (e.Kind is BlockErrors.Denied or BlockErrors.Consumed || (session.MayBreak && !Losses.IsLoss(e)))
            {
                isRefused = true; // Outside the session's limits, or the session broke.
            }
        }

        if (!isRefused && session.IsInDoubt)
        {
            throw new InvalidOperationException("Sectors of a snapshot were read and are in doubt still.");
        }
    }

    /// <summary>Reads all that can be read, and sees that nothing else is.</summary>
    /// <exception cref="Finding">A byte differs, or what can be read is more or less than it should be.</exception>
    /// <exception cref="BlockException">The session broke, or the host is gone.</exception>
    public static async Task JudgeAsync(WorldDisk disk, SessionTruth session, string when)
    {
        foreach (ConsumerTruth consumer in session.Consumers)
        {
            await JudgeAsync(disk, session, consumer, when);
        }
    }

    private static async Task JudgeAsync(WorldDisk disk, SessionTruth session, ConsumerTruth consumer, string when)
    {
        await using NbdNode node = await disk.ConnectAsync(session, consumer.Name);
        AccessFlags[] access = await AskAccessAsync(disk, node);
        byte[] data = new byte[UnitBytes];
        for (int unit = 0; unit < access.Length; unit++)
        {
            bool isReadable = access[unit] == AccessFlags.None;
            JudgeAccess(session, consumer, unit, access[unit], when);
            if (isReadable)
            {
                await ReadAsync(disk, session, node, unit, data, when);
            }
        }

        await CheckRefusedAsync(session, consumer, node, data, when);
    }

    private static void JudgeAccess(SessionTruth session, ConsumerTruth consumer, int unit, AccessFlags access, string when)
    {
        string place = $"{when}: unit {unit} of the snapshot '{session.Id}' for '{consumer.Name}'";
        bool may = session.Limits?.May[unit] ?? true;
        bool must = (session.Limits?.Must[unit] ?? true) || session.DiffersFromBackup(unit);
        Consumed consumed = consumer.Clusters[unit];
        if (access == AccessFlags.None)
        {
            if (consumed == Consumed.Yes)
            {
                throw new Finding($"{place} was consumed and can be read");
            }

            if (!may)
            {
                throw new Finding($"{place} can be read, and the session is limited to others");
            }

            consumer.Clusters[unit] = Consumed.No;
        }
        else if (must && consumed == Consumed.No)
        {
            throw new Finding($"{place} can't be read ({access}), and no consumer has consumed it");
        }
        else if (access.HasFlag(AccessFlags.Consumed))
        {
            consumer.Clusters[unit] = Consumed.Yes;
        }
    }

    private static async Task ReadAsync(WorldDisk disk, SessionTruth session, NbdNode node, int unit, byte[] data, string when)
    {
        int count = Math.Min(Marks.UnitSectors, disk.Truth.SectorCount - unit * Marks.UnitSectors);
        await node.ReadAsync((long)unit * UnitBytes, data.AsMemory(0, count * Sectors.SizeBytes), CancellationToken.None);
        lock (disk.Truth.Lock)
        {
            for (int i = 0; i < count; i++)
            {
                session.Check(unit * Marks.UnitSectors + i, Sectors.Read(data, i), when);
            }
        }
    }

    private static async Task CheckRefusedAsync(
        SessionTruth session, ConsumerTruth consumer, NbdNode node, byte[] data, string when)
    {
        int unit = Array.IndexOf(consumer.Clusters, Consumed.Yes);
        if (unit < 0)
        {
            return;
        }

        try
        {
            await node.ReadAsync((long)unit * UnitBytes, data.AsMemory(0, Sectors.SizeBytes), CancellationToken.None);
        }
        catch (BlockException e) when (e.Kind is BlockErrors.Denied or BlockErrors.Consumed)
        {
            return;
        }

        throw new Finding($"{when}: unit {unit} of the snapshot '{session.Id}' was consumed and is read all the same");
    }

    // A unit can be read when all of it can: sessions are limited and consumed in whole units.
    private static async Task<AccessFlags[]> AskAccessAsync(WorldDisk disk, NbdNode node)
    {
        long sizeBytes = (long)disk.Truth.SectorCount * Sectors.SizeBytes;
        AccessFlags[] access = new AccessFlags[(sizeBytes + UnitBytes - 1) / UnitBytes];
        for (long atBytes = 0; atBytes < sizeBytes;)
        {
            (AccessFlags refusal, long lengthBytes) = await node.GetAccessAsync(atBytes, sizeBytes - atBytes, CancellationToken.None);
            for (long unit = atBytes / UnitBytes; unit <= (atBytes + lengthBytes - 1) / UnitBytes; unit++)
            {
                access[unit] |= refusal;
            }

            atBytes += lengthBytes;
        }

        return access;
    }
}
