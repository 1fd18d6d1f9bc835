// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;
using Fleece.Backups.Reading;
using Fleece.Block;
using Fleece.Disks.Exports;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Exports;

/// <summary>The socket at which one client reads and writes what it was offered.</summary>
[SuppressMessage("Interoperability", "CA1416", Justification = "The constructor skips where there are no file modes.")]
public sealed class PrivateExportsTests : IAsyncDisposable
{
    private const int SizeBytes = 1024 * 1024;
    private const UnixFileMode OwnerAndGroup =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite;

    // Losses are errors at once.
    private static readonly NbdNodeOptions Impatient = new() { ReconnectTimeout = TimeSpan.Zero };

    private readonly Seeds _seeds = Seeds.FromEnvironment();
    private readonly TempFolder _folder = new();
    private readonly MountedDisks _disks = new();
    private readonly PrivateExports _exports;

    public PrivateExportsTests()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no file modes");
        _exports = PrivateExports.Create(SocketPath, OwnerAndGroup, group: null);
    }

    private string SocketPath => _folder.File("a socket, 50%");

    public async ValueTask DisposeAsync()
    {
        if (_exports is not null)
        {
            await _exports.DisposeAsync();
        }

        await _disks.DisposeAsync();
        _folder.Dispose();
    }

    [Fact]
    public async Task A_disk_that_is_offered_is_read_and_written()
    {
        byte[] content = _seeds.Bytes(SizeBytes);
        Disk disk = await MountAsync("vm", content);

        NbdUri uri = _exports.Offer(disk);
        await using NbdNode client = await ConnectAsync(uri);
        await client.WriteAsync(4096, content.AsMemory(0, 512), WriteFlags.None, TestContext.Current.CancellationToken);

        Assert.Equal(($"disk/{disk.MountId:D}", SocketPath), (uri.ExportName, uri.SocketPath));
        Assert.Equal(content[..512], await ReadAsync(disk.Device, 4096, 512));
        Assert.Equal(content[8192..12288], await ReadAsync(client, 8192, 4096));
        Assert.Equal(uri, _exports.Offer(disk));
    }

    [Fact]
    public async Task A_read_only_disk_is_offered_for_reading()
    {
        Disk disk = await MountAsync("vm", _seeds.Bytes(SizeBytes), isReadOnly: true);

        await using NbdNode client = await ConnectAsync(_exports.Offer(disk));

        Assert.True(client.Geometry.IsReadOnly);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_snapshot_is_read_and_consumed_only_where_that_was_offered(bool discards)
    {
        byte[] content = _seeds.Bytes(SizeBytes);
        Session session = await StartAsync(await MountAsync("vm", content));
        NbdUri uri = _exports.Offer(session, consumer: null, discards);

        Assert.Equal($"snapshot/{session.InstantId:D}", uri.ExportName);
        await using RemoteSnapshot snapshot = await RemoteSnapshot.ConnectAsync(uri, Impatient, mustConsume: false, Token);
        Assert.Equal(session.InstantId, snapshot.Identity!.Id);
        Assert.Equal(content[..4096], await ReadAsync(snapshot.Snapshot, 0, 4096));
        Exception? refusal = await Record.ExceptionAsync(
            async () => await (await RemoteSnapshot.ConnectAsync(uri, Impatient, mustConsume: true, Token)).DisposeAsync());
        Assert.Equal(discards ? null : BlockErrors.ReadOnly, (refusal as BlockException)?.Kind);
    }

    [Fact]
    public async Task A_consumer_has_its_own_export_and_what_was_offered_with_discards_stays_so()
    {
        Session session = await StartAsync(await MountAsync("vm", _seeds.Bytes(SizeBytes)), "local", "offsite");

        NbdUri uri = _exports.Offer(session, "offsite", discards: true);
        Assert.Equal(uri, _exports.Offer(session, "OFFSITE", discards: false));
        await using RemoteSnapshot snapshot = await RemoteSnapshot.ConnectAsync(uri, Impatient, mustConsume: true, Token);
        await snapshot.Snapshot.DiscardAsync(0, 64 * 1024, Token);

        Assert.Equal($"snapshot/{session.InstantId:D}/offsite", uri.ExportName);
        Assert.Equal([0, 64 * 1024], session.Consumers.Select(consumer => consumer.ConfirmedBytes));
        Assert.Equal(
            DiskErrors.ConsumerUnknown,
            Assert.Throws<BlockException>(() => _exports.Offer(session, "another", discards: true)).Kind);
    }

    [Fact]
    public async Task What_was_not_offered_is_unknown_and_nothing_is_listed()
    {
        Disk disk = await MountAsync("vm", _seeds.Bytes(SizeBytes));
        Session session = await StartAsync(disk, "local");
        _exports.Offer(session, "local", discards: false);

        Assert.Empty(_exports.List());
        Assert.All(
            ["", "vm", "vm/vm", $"disk/{disk.MountId:D}", $"snapshot/{session.InstantId:D}", $"snapshot/{session.InstantId:D}/LOCAL"],
            name => Assert.Null(_exports.Find(name)));
        if (Peer.Has("nbdinfo"))
        {
            string uri = $"{_exports.Offer(session, "local", discards: false).WithExport(string.Empty)}";
            Assert.DoesNotContain("export=", await Peer.RunAsync("nbdinfo", "--list", uri), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_client_of_a_snapshot_ends_with_the_session_and_the_name_is_unknown_then()
    {
        Session session = await StartAsync(await MountAsync("vm", _seeds.Bytes(SizeBytes)));
        NbdUri uri = _exports.Offer(session, consumer: null, discards: true);
        await using NbdNode client = await ConnectAsync(uri);

        await session.StopAsync();

        await AssertEndsAsync(client);
        Assert.Equal(NbdErrors.ExportUnknown, (await Assert.ThrowsAsync<BlockException>(() => ConnectAsync(uri))).Kind);
    }

    [Fact]
    public async Task A_client_of_a_disk_keeps_it_from_nothing_and_ends_with_it()
    {
        Disk disk = await MountAsync("vm", _seeds.Bytes(SizeBytes));
        NbdUri uri = _exports.Offer(disk);
        NbdNode left = await ConnectAsync(uri);
        await left.DisposeAsync();
        await using NbdNode client = await ConnectAsync(uri);

        await _disks.DismountAsync("vm", isForced: false);

        await AssertEndsAsync(client);
        Assert.Equal(NbdErrors.ExportUnknown, (await Assert.ThrowsAsync<BlockException>(() => ConnectAsync(uri))).Kind);
    }

    [Fact]
    public async Task Clients_of_a_private_socket_are_no_guests()
    {
        Disk disk = await MountAsync("vm", _seeds.Bytes(SizeBytes));
        DiskExport export = await _disks.Exports.PublishAsync(
            disk, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={_folder.File("public")}") });

        await using NbdNode client = await ConnectAsync(_exports.Offer(disk));

        Assert.Equal((0, 0, 0), (export.GuestCount, export.ConnectionCount, _disks.Exports.CountGuests(disk)));
        Assert.Equal(1, _exports.ConnectionCount);
    }

    [Fact]
    public async Task The_socket_has_its_mode_and_ends_with_its_clients()
    {
        NbdUri uri = _exports.Offer(await MountAsync("vm", _seeds.Bytes(SizeBytes)));
        await using NbdNode client = await ConnectAsync(uri);
        Assert.Equal(OwnerAndGroup, File.GetUnixFileMode(SocketPath));

        await _exports.DisposeAsync();

        Assert.False(File.Exists(SocketPath));
        await AssertEndsAsync(client);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private static Task<NbdNode> ConnectAsync(NbdUri uri) =>
        NbdNode.ConnectAsync(uri, Impatient with { MaximumConnections = 1 }, Token).AsTask();

    private static async Task AssertEndsAsync(NbdNode client) => Assert.Contains(
        (await Assert.ThrowsAsync<BlockException>(async () => await ReadAsync(client, 0, 512))).Kind,
        new[] { NbdErrors.ConnectionLost, BlockErrors.Closed, BlockErrors.Stopped });

    private static async Task<byte[]> ReadAsync(NbdNode node, long offsetBytes, int lengthBytes)
    {
        byte[] data = new byte[lengthBytes];
        await node.ReadAsync(offsetBytes, data, Token);
        return data;
    }

    private static async Task<byte[]> ReadAsync(BlockDevice device, long offsetBytes, int lengthBytes)
    {
        byte[] data = new byte[lengthBytes];
        await device.ReadAsync(offsetBytes, data, Token);
        return data;
    }

    private static async Task<Session> StartAsync(Disk disk, params string[] consumers) =>
        (await Session.StartAsync([disk], new SessionOptions { Consumers = consumers }))[0];

    private async Task<Disk> MountAsync(string name, byte[] content, bool isReadOnly = false)
    {
        string path = _folder.File(name + ".raw");
        await File.WriteAllBytesAsync(path, content);
        return await _disks.MountAsync(path, name, new ImageOpenOptions { IsReadOnly = isReadOnly });
    }
}
