// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>Single requests of libnbd, with the errors and the runs that its tools do not show.</summary>
public sealed class LibnbdTests
{
    private const int KiB = 1024;
    private const int MiB = 1024 * KiB;

    [Fact]
    public async Task A_write_to_a_snapshot_is_not_permitted_and_the_connection_stays()
    {
        await using ServedDisk served = await ServedDisk.StartAsync(MiB);
        Session session = await served.StartSessionAsync();

        await Libnbd.RunAsync(
            """
            h = connect(sys.argv[1], strict=False)
            refused(lambda: h.pwrite(b"x" * 512, 0), "EPERM")
            refused(lambda: h.zero(65536, 0), "EPERM")
            assert h.pread(512, 0) == bytes(512)
            """,
            served.UriOf(session));
    }

    [Fact]
    public async Task Requests_that_break_the_rules_are_refused_and_the_connection_stays()
    {
        await using ServedDisk served = await ServedDisk.StartAsync(MiB);

        await Libnbd.RunAsync(
            """
            h = connect(sys.argv[1], strict=False)
            size = h.get_size()
            refused(lambda: h.pread(1024, size - 512), "EINVAL")
            refused(lambda: h.pwrite(bytes(1024), size - 512), "ENOSPC")
            refused(lambda: h.trim(1024, size - 512), "EINVAL")
            refused(lambda: h.pread(512, 0, nbd.CMD_FLAG_FUA), "EINVAL")
            assert h.pread(512, size - 512) == bytes(512)
            """,
            served.Uri);
    }

    [Fact]
    public async Task A_read_that_must_not_be_fragmented_comes_in_one_piece()
    {
        (ServedDisk served, _) = await ServedDisk.StartFullAsync(MiB);
        await using ServedDisk disposal = served;
        Session session = await served.StartSessionAsync();

        await Libnbd.RunAsync(
            """
            h = connect(sys.argv[1])
            guest = connect(sys.argv[2])
            before = h.pread(1 << 20, 0)
            guest.zero(300000, 100000)
            pieces = []
            read = h.pread_structured(1 << 20, 0, lambda piece, at, kind, err: pieces.append(at), nbd.CMD_FLAG_DF)
            assert pieces == [0], pieces
            assert read == before
            """,
            served.UriOf(session),
            served.Uri);
    }

    [Fact]
    public async Task What_one_connection_wrote_another_reads_after_a_flush_of_either()
    {
        await using ServedDisk served = await ServedDisk.StartAsync(MiB);

        await Libnbd.RunAsync(
            """
            a, b = connect(sys.argv[1]), connect(sys.argv[1])
            assert a.can_multi_conn()
            a.pwrite(b"x" * 5000, 77)
            b.flush()
            assert b.pread(5002, 76) == b"\0" + b"x" * 5000 + b"\0"
            """,
            served.Uri);
    }

    // The reader's border is at 128 KiB; an answer that goes past it would call refused bytes readable.
    [Fact]
    public async Task O5_block_status_from_readable_into_denied_stops_exactly_at_the_first_denied_cluster()
    {
        (ServedDisk served, _) = await ServedDisk.StartFullAsync(MiB);
        await using ServedDisk disposal = served;
        Session session = await served.StartSessionAsync(new SessionOptions { Ranges = [new BlockRange(64 * KiB, 64 * KiB)] });

        await Libnbd.RunAsync(
            """
            h = connect(sys.argv[1])
            assert status(h, "base:allocation", 64 << 10, 128 << 10) == [(64 << 10, 0), (64 << 10, 1)]
            assert status(h, "base:allocation", 32 << 10, 64 << 10) == [(32 << 10, 1), (32 << 10, 0)]
            assert status(h, "fleece:access", (128 << 10) - 1, 2) == [(1, 0), (1, 1)]
            refused(lambda: h.pread(2, (128 << 10) - 1), "EPERM")
            refused(lambda: h.pread(2, (64 << 10) - 1), "EPERM")
            h.pread(64 << 10, 64 << 10)
            """,
            served.UriOf(session));
    }

    [Fact]
    public async Task O4_two_readers_see_the_instant_while_a_consumer_follows_behind_them()
    {
        (ServedDisk served, byte[] content) = await ServedDisk.StartFullAsync(4 * MiB);
        await using ServedDisk disposal = served;
        string instant = served.Folder.File("instant.raw");
        await File.WriteAllBytesAsync(instant, content);
        Session session = await served.StartSessionAsync();

        await Libnbd.RunAsync(
            """
            instant = open(sys.argv[3], "rb").read()
            a, b, consumer, guest = connect(sys.argv[1]), connect(sys.argv[1]), connect(sys.argv[1]), connect(sys.argv[2])
            cluster = 65536
            for at in range(0, len(instant), cluster):
                guest.pwrite(b"g" * 4096, (at * 7 + 4096) % len(instant))
                for reader in (a, b):
                    assert reader.pread(cluster, at) == instant[at:at + cluster], at
                consumer.trim(cluster, at)
                refused(lambda: a.pread(1, at), "EPERM")
            """,
            served.UriOf(session),
            served.Uri,
            instant);
    }

    // QEMU up to 9.1.0 ended on this (hazard 6).
    [Fact]
    public async Task B1_overlapping_reads_and_status_queries_are_answered_while_clients_come_and_go()
    {
        Peer.Need("nbdinfo");
        (ServedDisk served, _) = await ServedDisk.StartFullAsync(4 * MiB);
        await using ServedDisk disposal = served;
        Session session = await served.StartSessionAsync();
        string snapshot = served.UriOf(session);

        Task maps = Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Peer.RunAsync("nbdinfo", "--map", snapshot)));
        await Libnbd.RunAsync(
            """
            instant = connect(sys.argv[1]).pread(4 << 20, 0)
            for _ in range(30):
                h = connect(sys.argv[1])
                buffers = [(at, nbd.Buffer(1 << 20)) for at in range(0, 3 << 20, 100_000)]
                cookies = [h.aio_pread(buffer, at) for at, buffer in buffers]
                cookies += [h.aio_block_status(1 << 20, at, lambda *_: 0) for at, _ in buffers]
                while not all(h.aio_command_completed(c) for c in cookies[:1]):
                    h.poll(-1)
                if _ % 3:
                    h.shutdown()
            assert connect(sys.argv[1]).pread(4 << 20, 0) == instant
            """,
            snapshot);
        await maps;
        Assert.Equal(SessionState.Active, session.State);
    }
}
