// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Resuming.Tests.Truth;
using Fleece.Resuming.Tests.Worlds;

namespace Fleece.Resuming.Tests.Judging;

/// <summary>Compares a disk that came back with what its guests know.</summary>
internal static class DiskJudge
{
    private const int StepSectors = (1 << 20) / Sectors.SizeBytes;

    /// <summary>Reads all of it. Changes that were in flight are settled by what is found.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="when">Begins the message of a finding.</param>
    public static async Task JudgeAsync(WorldDisk disk, string when)
    {
        await using NbdNode node = await disk.ConnectAsync(connections: 1);
        byte[] buffer = new byte[StepSectors * Sectors.SizeBytes];
        for (int first = 0; first < disk.Truth.SectorCount; first += StepSectors)
        {
            Memory<byte> data = buffer.AsMemory(0, Math.Min(StepSectors, disk.Truth.SectorCount - first) * Sectors.SizeBytes);
            await node.ReadAsync((long)first * Sectors.SizeBytes, data, CancellationToken.None);
            disk.Truth.Check(first, data.Span, when);
        }

        // Nothing was lost, so no client needs to hear of a loss.
        try
        {
            await node.FlushAsync(CancellationToken.None);
        }
        catch (BlockException e) when (!Losses.IsLoss(e))
        {
            throw new Finding($"{when}: the first flush of the disk '{disk.Name}' failed: {e.Kind}: {e.Message}");
        }
    }
}
