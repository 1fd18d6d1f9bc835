// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Resuming.Tests.Truth;
using Fleece.Resuming.Tests.Worlds;
using Fleece.TestKit;

namespace Fleece.Resuming.Tests.Load;

/// <summary>A guest that writes without rest and checks what it reads, until its host is gone.</summary>
internal sealed class Guest(World world, WorldDisk disk, NbdNode node, Seeds seeds)
{
    private const int LargestBytes = 256 * 1024;

    private readonly byte[] _buffer = new byte[LargestBytes];

    /// <summary>Runs until the connection is lost, or the token ends it between two requests.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            await disk.Gate.WaitAsync(CancellationToken.None);
            try
            {
                if (!await TryRequestAsync())
                {
                    return;
                }
            }
            finally
            {
                disk.Gate.Release();
            }

            if (seeds.Chance(20))
            {
                await Task.Delay(1, CancellationToken.None);
            }
        }
    }

    private async Task<bool> TryRequestAsync()
    {
        int count = seeds.Chance(70) ? 1 + seeds.Next(16) : 1 + seeds.Next(LargestBytes / Sectors.SizeBytes);
        int first = seeds.Next(disk.Truth.SectorCount - count + 1);
        if (seeds.Chance(30))
        {
            count = Math.Max(count / 8, 1) * 8;
            first = Math.Min(first, disk.Truth.SectorCount - count) / 8 * 8;
        }

        int what = seeds.Next(100);
        return
            what < 5 ? await TryFlushAsync() :
            what < 12 ? await TryReadAsync(first, count) :
            what < 22 ? await TryDiscardAsync(first, count) :
            await TryWriteAsync(first, count, isZeros: what < 34);
    }

    private async Task<bool> TryFlushAsync()
    {
        try
        {
            await node.FlushAsync(CancellationToken.None);
            return true;
        }
        catch (BlockException e) when (IsLoss(e))
        {
            return false;
        }
    }

    private async Task<bool> TryWriteAsync(int first, int count, bool isZeros)
    {
        ulong write = isZeros ? 0 : world.NextWrite();
        WriteFlags flags = seeds.Chance(15) ? WriteFlags.ForceUnitAccess : WriteFlags.None;
        if (!disk.Truth.TryBegin(first, count, write))
        {
            return true;
        }

        try
        {
            if (isZeros)
            {
                await node.WriteZeroesAsync(OffsetOf(first), OffsetOf(count), flags, CancellationToken.None);
            }
            else
            {
                Memory<byte> data = _buffer.AsMemory(0, count * Sectors.SizeBytes);
                Sectors.Fill(data.Span, first, write);
                await node.WriteAsync(OffsetOf(first), data, flags, CancellationToken.None);
            }

            disk.Truth.Complete(first, count);
            return true;
        }
        catch (BlockException e)
        {
            return await TryGoOnAsync(e, first, count);
        }
    }

    // A range that was discarded holds what it held or zeros, and the same from now on.
    private async Task<bool> TryDiscardAsync(int first, int count)
    {
        if (!disk.Truth.TryBegin(first, count, write: 0))
        {
            return true;
        }

        try
        {
            await node.DiscardAsync(OffsetOf(first), OffsetOf(count), CancellationToken.None);
            await ReadBackAsync(first, count, "after a discard");
            return true;
        }
        catch (BlockException e)
        {
            return await TryGoOnAsync(e, first, count);
        }
    }

    private async Task<bool> TryReadAsync(int first, int count)
    {
        if (!disk.Truth.TryHold(first, count))
        {
            return true;
        }

        try
        {
            await ReadBackAsync(first, count, "while the host runs");
            return true;
        }
        catch (BlockException e)
        {
            return await TryGoOnAsync(e, first, count);
        }
    }

    // After a write that found no room the range holds old or new bytes, which a read tells.
    private async Task<bool> TryGoOnAsync(BlockException error, int first, int count)
    {
        if (IsLoss(error))
        {
            disk.Truth.Release(first, count);
            return false;
        }

        if (error.Kind is not (BlockErrors.NoSpace or BlockErrors.TempFull or BlockErrors.TempLimitReached))
        {
            throw new Finding($"a request of {count} sectors at {first} of the disk '{disk.Name}' failed: {error.Kind}: {error.Message}");
        }

        world.NoteFrequent($"{disk.Name}: {error.Kind}");
        try
        {
            await ReadBackAsync(first, count, "after a write that failed");
            return true;
        }
        catch (BlockException e) when (IsLoss(e))
        {
            disk.Truth.Release(first, count);
            return false;
        }
    }

    private async Task ReadBackAsync(int first, int count, string when)
    {
        Memory<byte> data = _buffer.AsMemory(0, count * Sectors.SizeBytes);
        await node.ReadAsync(OffsetOf(first), data, CancellationToken.None);
        disk.Truth.Check(first, data.Span, when);
        disk.Truth.Release(first, count);
    }

    // A flush or a write with FUA that is lost after other writes fails with another kind.
    private bool IsLoss(BlockException error) => node.Failure is not null || Losses.IsLoss(error);

    private static long OffsetOf(int sector) => (long)sector * Sectors.SizeBytes;
}
