// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;

namespace Fleece.Qemu.Tests.Sessions;

/// <summary>What a nightly job does with a disk, with a byte array for the repository: all at first and after doubt, else what a bitmap
/// has.</summary>
internal sealed class NightBackup(IFleeceable disk)
{
    public const string BitmapName = "nightly";
    private const int ChunkBytes = 512 * 1024;

    /// <summary>The instant of the last backup; null for none.</summary>
    public Guid? LastId { get; private set; }

    /// <summary>The bytes of the last backup.</summary>
    public byte[] Last { get; private set; } = [];

    /// <summary>Nights whose backup was an increment.</summary>
    public int IncrementCount { get; private set; }

    /// <summary>Begins the session of the night.</summary>
    public async Task<IFleeceSession> BeginAsync()
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        BitmapDescription? bitmap =
            (await disk.ListBitmapsAsync(token)).Where(bitmap => bitmap.Name == BitmapName).MaxBy(bitmap => bitmap.BaselineId is not null);
        if (bitmap is null)
        {
            bitmap = await disk.CreateBitmapAsync(BitmapName, token);
        }
        else if (bitmap.Fault is not null || !bitmap.IsEnabled)
        {
            bitmap = await disk.RestartBitmapAsync(bitmap.ExactName, token);
        }

        Assert.True(bitmap.BaselineId is null || bitmap.BaselineId == LastId, "a bitmap counts from no backup but the last");
        return await disk.BeginSessionAsync(new SessionOptions { Name = bitmap.Name, Bitmap = bitmap.ExactName }, token);
    }

    /// <summary>Reads the session, giving the guest something to do between two chunks.</summary>
    /// <returns>The bytes of the disk at its instant.</returns>
    public async Task<byte[]> ReadAsync(IFleeceSession session, bool discards, Func<Task> meanwhile)
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        SnapshotIdentity identity = session.Identity!;
        byte[] bytes = identity.BaselineId is null ? new byte[session.SizeBytes] : [.. Last];
        IncrementCount += identity.BaselineId is null ? 0 : 1;
        Assert.True(identity.BaselineId is null || identity.BaselineId == LastId, "an increment counts from the last backup");
        Assert.Equal(identity.BaselineId is null, identity.Ranges is null);
        for (long at = 0; ;)
        {
            BlockRange next = await session.FindReadableAsync(at, session.SizeBytes, token);
            if (next.IsEmpty)
            {
                return bytes;
            }

            int lengthBytes = (int)Math.Min(next.LengthBytes, ChunkBytes);
            await session.Snapshot.ReadAsync(next.OffsetBytes, bytes.AsMemory((int)next.OffsetBytes, lengthBytes), token);
            if (discards)
            {
                await session.Snapshot.DiscardAsync(next.OffsetBytes, lengthBytes, token);
            }

            at = next.OffsetBytes + lengthBytes;
            await meanwhile();
        }
    }

    /// <summary>The backup is in the repository.</summary>
    public void Keep(IFleeceSession session, byte[] bytes) => (LastId, Last) = (session.Identity!.Id, bytes);
}
