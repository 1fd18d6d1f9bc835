// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Exports;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>A session's snapshot over NBD: what can be read, consumed and asked, and what is refused with which words.</summary>
public sealed class SnapshotExportTests : IAsyncDisposable
{
    private const int Read = (int)NbdCommand.Read;
    private const int Trim = (int)NbdCommand.Trim;
    private const int Cluster = 64 * 1024;
    private const int Size = 6 * Cluster;
    private const string Allocation = "base:allocation";
    private const string Access = "fleece:access";

    private readonly Seeds _seeds = Seeds.FromEnvironment();
    private readonly TempFolder _folder = new();
    private readonly PublishedExports _exports = new();
    private Disk? _disk;

    public async ValueTask DisposeAsync()
    {
        if (_disk is not null)
        {
            await _exports.UnpublishAsync(_disk);
            await _disk.DisposeAsync();
        }

        _folder.Dispose();
    }

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task A_snapshot_shows_the_instant_while_the_guest_writes_over_NBD_too(HeaderMode mode)
    {
        byte[] content = _seeds.Bytes(Size);
        DiskExport export = await PublishAsync(content);
        await StartAsync();
        using RawClient guest = Connect(export).Go(mode, "vm");
        using RawClient snapshot = Connect(export).Go(mode, "vm/night");

        guest.Write(Cluster / 2, _seeds.Bytes(2 * Cluster));

        Assert.Equal(content, snapshot.ReadDisk(0, Size));
        Assert.Equal(TransmissionFlags.SendTrim, snapshot.Flags & (TransmissionFlags.SendTrim | TransmissionFlags.ReadOnly));
    }

    [Fact]
    public async Task A_snapshot_is_not_written()
    {
        DiskExport export = await PublishAsync(_seeds.Bytes(Size));
        await StartAsync();
        using RawClient snapshot = Connect(export).Go(HeaderMode.Structured, "vm/night");

        Answer answer = snapshot.Write(0, [1]);

        Assert.Equal((NbdError.NotPermitted, "A snapshot can be read and discarded, not written."), (answer.Error, answer.Text));
        Assert.Equal(NbdError.NotPermitted, snapshot.Call((int)NbdCommand.WriteZeroes, 0, 512).Error);
    }

    [Fact]
    public async Task Discards_consume_clusters_as_soon_as_all_of_one_is_discarded()
    {
        byte[] content = _seeds.Bytes(Size);
        DiskExport export = await PublishAsync(content);
        Session session = await StartAsync();
        using RawClient snapshot = Connect(export).Go(HeaderMode.Structured, "vm/night");

        Assert.Equal(NbdError.None, snapshot.Call(Trim, 0, Cluster + 8192).Error);
        Assert.Equal(content[Cluster..(Cluster + 4096)], snapshot.ReadDisk(Cluster, 4096));
        Assert.Equal(NbdError.None, snapshot.Call(Trim, Cluster + 8192, Cluster - 8192).Error);
        Answer answer = snapshot.Call(Read, Cluster, 4096);

        Assert.Equal(NbdError.NotPermitted, answer.Error);
        Assert.Contains("was consumed", answer.Text, StringComparison.Ordinal);
        Assert.Equal(2 * Cluster, session.ConsumedBytes);
        Assert.Equal(content[(2 * Cluster)..], snapshot.ReadDisk(2 * Cluster, Size - 2 * Cluster));
    }

    [Fact]
    public async Task What_the_session_was_not_given_is_refused_with_words()
    {
        DiskExport export = await PublishAsync(_seeds.Bytes(Size));
        await StartAsync(new BlockRange(Cluster, Cluster));
        using RawClient snapshot = Connect(export).Go(HeaderMode.Structured, "vm/night");

        Answer answer = snapshot.Call(Read, 0, 512);

        Assert.Equal(NbdError.NotPermitted, answer.Error);
        Assert.StartsWith("The snapshot does not include offset 0", answer.Text, StringComparison.Ordinal);
        Assert.Equal(NbdError.NotPermitted, snapshot.Call(Read, (2 * Cluster) - 512, 1024).Error);
        Assert.Equal(512, snapshot.ReadDisk(Cluster, 512).Length);
    }

    [Theory]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task The_whole_map_can_be_walked_whatever_is_refused(HeaderMode mode)
    {
        DiskExport export = await PublishAsync(_seeds.Bytes(Size));
        await StartAsync(new BlockRange(Cluster, 3 * Cluster));
        using RawClient snapshot = Connect(export).Go(mode, "vm/night", Allocation, Access);
        snapshot.Call(Trim, 2 * Cluster, Cluster);

        Answer answer = snapshot.Call((int)NbdCommand.BlockStatus, 0, Size);

        Assert.Equal(
            [(Cluster, 1), (Cluster, 0), (Cluster, 1), (Cluster, 0), (2 * Cluster, 1)],
            Extents(answer, snapshot.ContextIds[Allocation]));
        Assert.Equal(
            [(Cluster, 1), (Cluster, 0), (Cluster, 2), (Cluster, 0), (2 * Cluster, 1)],
            Extents(answer, snapshot.ContextIds[Access]));
    }

    [Fact]
    public async Task A_broken_session_refuses_with_its_cause()
    {
        DiskExport export = await PublishAsync(_seeds.Bytes(Size));
        Session session = await StartAsync();
        using RawClient snapshot = Connect(export).Go(HeaderMode.Structured, "vm/night", Allocation, Access);
        session.Point.Break(new BlockException(BlockErrors.NoSpace, "The temp is full to the brim."));

        foreach (int command in (int[])[Read, Trim, (int)NbdCommand.BlockStatus])
        {
            Answer answer = snapshot.Call(command, 0, Cluster);
            Assert.Equal(NbdError.NotPermitted, answer.Error);
            Assert.Contains("The temp is full to the brim.", answer.Text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_stopped_session_answers_with_shutdown_and_then_ends_its_connections_and_no_others()
    {
        DiskExport export = await PublishAsync(_seeds.Bytes(Size));
        Session session = await StartAsync();
        using RawClient guest = Connect(export).Go(HeaderMode.Simple, "vm");
        using RawClient snapshot = Connect(export).Go(HeaderMode.Structured, "vm/night", Allocation, Access);
        session.Point.Stop();
        foreach (int command in (int[])[Read, Trim, (int)NbdCommand.BlockStatus])
        {
            Assert.Equal(NbdError.Shutdown, snapshot.Call(command, 0, Cluster).Error);
        }

        await session.StopAsync();

        snapshot.AssertClosed();
        Assert.Equal(NbdError.None, guest.Write(0, [1]).Error);
        using RawClient late = Connect(export);
        Assert.Equal(OptionReply.ErrorUnknown, late.AskOne(7, Packet.Wish("vm/night", 3)));
    }

    [Fact]
    public async Task A_disk_that_is_no_longer_published_ends_its_clients_after_what_they_have_in_flight()
    {
        DiskExport export = await PublishAsync(_seeds.Bytes(Size));
        using RawClient guest = Connect(export).Go(HeaderMode.Simple, "vm");
        ulong cookie = guest.BeginWrite(0, [1, 2]);
        Assert.Equal(cookie, guest.ReadAnswer().Cookie);

        await _exports.UnpublishAsync(export);

        guest.AssertClosed();
        Assert.False(File.Exists(_folder.File("s")));
    }

    private static RawClient Connect(DiskExport export) => RawClient.Connect(export.Uri).Greet();

    private static IEnumerable<(int Length, int Flags)> Extents(Answer answer, uint contextId) =>
        answer.Extents(contextId).Select(extent => ((int)extent.LengthBytes, (int)extent.Flags));

    private async Task<DiskExport> PublishAsync(byte[] content)
    {
        string path = _folder.File("vm.raw");
        await File.WriteAllBytesAsync(path, content);
        _disk = await Disk.OpenAsync(path, "vm");
        return await _exports.PublishAsync(
            _disk, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={_folder.File("s")}") });
    }

    private async Task<Session> StartAsync(params BlockRange[] ranges) => (await Session.StartAsync(
        [_disk!], new SessionOptions { Name = "night", Ranges = ranges.Length == 0 ? null : ranges }))[0];
}
