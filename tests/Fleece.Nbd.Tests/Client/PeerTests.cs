// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Client;

/// <summary>The client with real servers that fail, dawdle, split and die.</summary>
public sealed class PeerTests : IDisposable
{
    private const int DiskBytes = 64 * 1024 * 1024;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task An_unknown_export_of_qemu_nbd_is_told()
    {
        using PeerServer server = PeerServer.QemuNbd("--format=raw", "--export-name=disk", CreateDisk());

        BlockException exception = await Assert.ThrowsAsync<BlockException>(
            async () => await NbdNode.ConnectAsync(server.UriOf("elsewhere"), new NbdNodeOptions(), CancellationToken.None));

        Assert.Equal(NbdErrors.ExportUnknown, exception.Kind);
        Assert.Contains("elsewhere", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_export_of_qemu_nbd_whose_name_begins_with_a_slash_is_reached()
    {
        using PeerServer server = PeerServer.QemuNbd("--format=raw", "--export-name=/disk", CreateDisk());

        await using NbdNode node = await NbdNode.ConnectAsync(server.UriOf("/disk"), new NbdNodeOptions(), CancellationToken.None);

        Assert.Equal(DiskBytes, node.Geometry.LengthBytes);
    }

    [Fact]
    public async Task Errors_of_a_plugin_fail_their_requests_and_no_others()
    {
        using PeerServer server = PeerServer.Nbdkit("--filter=error", "memory", "64M", "error-pread=ENOSPC", "error-pread-rate=100%");
        await using NbdNode node = await server.ConnectAsync();

        BlockException exception = await Assert.ThrowsAsync<BlockException>(
            async () => await node.ReadAsync(4096, new byte[512], CancellationToken.None));
        await node.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None);

        Assert.Equal(BlockErrors.NoSpace, exception.Kind);
        Assert.Equal(4096, exception.OffsetBytes);
    }

    [Fact]
    public async Task A_slow_server_works_on_many_requests_at_once()
    {
        // Goal: requests do not wait for each other. Method: the server holds each read for a while and logs when it begins and ends;
        // with requests one after the other there would never be two at a time.
        string log = _folder.File("log");
        using PeerServer server = PeerServer.Nbdkit(
            "--filter=log", "--filter=delay", "memory", "64M", "rdelay=300ms", $"logfile={log}");
        await using (NbdNode node = await server.ConnectAsync())
        {
            await Task.WhenAll(
                Enumerable.Range(0, 32).Select(i => node.ReadAsync(4096 * i, new byte[4096], CancellationToken.None).AsTask()));
        }

        int atOnce = 0;
        int mostAtOnce = 0;
        foreach (string line in await File.ReadAllLinesAsync(log, TestContext.Current.CancellationToken))
        {
            atOnce += line.Contains("...Read id=", StringComparison.Ordinal) ? -1 : line.Contains(" Read id=", StringComparison.Ordinal) ? 1 : 0;
            mostAtOnce = Math.Max(mostAtOnce, atOnce);
        }

        Assert.InRange(mostAtOnce, 8, 32);
    }

    [Fact]
    public async Task A_read_longer_than_the_server_takes_comes_whole()
    {
        byte[] content = Seeds.FromEnvironment().Bytes(DiskBytes);
        string path = _folder.NewFile();
        await File.WriteAllBytesAsync(path, content);
        using PeerServer server = PeerServer.Nbdkit("file", path);
        await using NbdNode node = await server.ConnectAsync();
        byte[] read = new byte[DiskBytes];

        await node.ReadAsync(0, read, CancellationToken.None);

        Assert.True(content.AsSpan().SequenceEqual(read));
    }

    [Theory]
    [InlineData("nbdkit")]
    [InlineData("qemu-nbd")]
    public async Task Reads_and_writes_go_on_when_the_server_is_killed_and_comes_back(string tool)
    {
        // Goal: nothing acknowledged reads as anything else, and no flush claims what it cannot know. Method: four writers fill their
        // stripes with numbers while the server is killed and started again. The server's file outlives it, as the page cache
        // does, so that every write must be there in the end.
        string path = CreateDisk();
        using PeerServer server = tool == "nbdkit" ? PeerServer.Nbdkit("file", path) : PeerServer.QemuNbd("--format=raw", path);
        await using NbdNode node = await server.ConnectAsync();
        using CancellationTokenSource stopping = new();
        long[] lastWritten = new long[4];
        Task[] writers = [.. Enumerable.Range(0, 4).Select(WriteAsync)];
        for (int round = 0; round < 3; round++)
        {
            long before = Volatile.Read(ref lastWritten[0]);
            SpinWait.SpinUntil(() => Volatile.Read(ref lastWritten[0]) >= before + 20);
            server.Kill();
            server.Start();
        }

        await stopping.CancelAsync();
        await Task.WhenAll(writers);

        BlockException exception = await Assert.ThrowsAsync<BlockException>(async () => await node.FlushAsync(CancellationToken.None));
        Assert.Equal(BlockErrors.IoFailed, exception.Kind);
        await node.FlushAsync(CancellationToken.None);
        for (int writer = 0; writer < 4; writer++)
        {
            Assert.Equal(lastWritten[writer], await ReadNumberAsync(writer));
        }

        async Task WriteAsync(int writer)
        {
            await Task.Yield();
            for (long number = 1; !stopping.IsCancellationRequested; number++)
            {
                byte[] block = new byte[65536];
                BitConverter.TryWriteBytes(block, number);
                await node.WriteAsync(writer * 1024 * 1024, block, WriteFlags.None, CancellationToken.None);
                Volatile.Write(ref lastWritten[writer], number);
                Assert.Equal(number, await ReadNumberAsync(writer));
            }
        }

        async Task<long> ReadNumberAsync(int writer)
        {
            byte[] block = new byte[65536];
            await node.ReadAsync(writer * 1024 * 1024, block, CancellationToken.None);
            return BitConverter.ToInt64(block);
        }
    }

    [Fact]
    public async Task Many_small_requests_over_several_connections_are_all_answered()
    {
        using PeerServer server = PeerServer.Nbdkit("memory", "64M");
        await using NbdNode node = await server.ConnectAsync(new NbdNodeOptions { MaximumConnections = 4 });
        Seeds seeds = Seeds.FromEnvironment();
        Task[] workers = new Task[16];
        for (int i = 0; i < workers.Length; i++)
        {
            Seeds own = seeds.Fork();
            long startBytes = i * 1024 * 1024L;
            workers[i] = Task.Run(async () =>
            {
                ReferenceDisk disk = new(65536);
                for (int round = 0; round < 500; round++)
                {
                    BlockRange range = own.Range(disk.LengthBytes);
                    byte[] bytes = own.Bytes(range.LengthBytes);
                    await node.WriteAsync(startBytes + range.OffsetBytes, bytes, WriteFlags.None, CancellationToken.None);
                    disk.Write(range.OffsetBytes, bytes);
                    byte[] read = new byte[disk.LengthBytes];
                    await node.ReadAsync(startBytes, read, CancellationToken.None);
                    Assert.True(disk.Content.SequenceEqual(read), $"Round {round}, seed {seeds.Seed}.");
                }
            });
        }

        await Task.WhenAll(workers);
    }

    private string CreateDisk()
    {
        string path = _folder.NewFile();
        using FileStream file = File.Create(path);
        file.SetLength(DiskBytes);
        return path;
    }
}
