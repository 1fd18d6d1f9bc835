// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>What it costs to ask a sparse snapshot of 64 TiB where its data is: queries of the disk, not time.</summary>
public sealed class HugeDiskTests
{
    private const ulong Size = 1UL << 46;
    private const string Allocation = "base:allocation";

    // 32 bits of length, in whole megabytes as clients align them.
    [Fact]
    public async Task With_compact_headers_each_request_costs_about_one_query()
    {
        RecordingNode recording = new(new MemoryNode((long)Size));
        await using ServedDisk disk = Serve(recording);
        using RawClient client = disk.Go(HeaderMode.Structured, Allocation);

        int requests = Walk(client, 1UL << 32);

        Assert.InRange(requests, 16384, 16400);
        Assert.InRange(recording.Count(BlockOperationKind.Status), 1, 2 * requests);
    }

    [Fact]
    public async Task With_extended_headers_a_handful_of_requests_is_enough()
    {
        RecordingNode recording = new(new MemoryNode((long)Size));
        await using ServedDisk disk = Serve(recording);
        using RawClient client = disk.Go(HeaderMode.Extended, Allocation);

        int requests = Walk(client, Size);

        Assert.InRange(requests, 1, 4);

        // A disk in memory answers for 64 GiB at a time.
        Assert.InRange(recording.Count(BlockOperationKind.Status), 1, 1100);
    }

    private static ServedDisk Serve(RecordingNode recording)
    {
        PointInTime point = new(recording, new MemoryNode((long)Size), tempReadsAsZero: true);
        return new ServedDisk(point.Snapshot, ExportAccess.Consume);
    }

    private static int Walk(RawClient client, ulong stepBytes)
    {
        uint id = client.ContextIds[Allocation];
        int requests = 0;
        for (ulong at = 0; at < Size; requests++)
        {
            ulong length = Math.Min(Size - at, client.Mode == HeaderMode.Extended ? stepBytes : stepBytes - 512);
            IReadOnlyList<(ulong LengthBytes, ulong Flags)> extents = client.Call((int)NbdCommand.BlockStatus, at, length).Extents(id);
            Assert.All(extents, extent => Assert.Equal(3u, extent.Flags));
            at += extents.Aggregate(0UL, (sum, extent) => sum + extent.LengthBytes);
        }

        return requests;
    }
}
