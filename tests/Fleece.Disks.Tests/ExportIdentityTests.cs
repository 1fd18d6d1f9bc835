// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks.Exports;
using Fleece.Disks.Storage;
using Fleece.Nbd;

namespace Fleece.Disks.Tests;

/// <summary>What a server of Fleece tells of its exports, and what is taken of one that tells something else.</summary>
public sealed class ExportIdentityTests
{
    private const int SizeBytes = 1024 * 1024;

    private static readonly NbdUri Uri = NbdUri.Parse("nbd://localhost/vm/nightly");

    private static readonly Dictionary<string, string> Snapshot = new()
    {
        ["kind"] = "snapshot",
        ["disk"] = "vm",
        ["session"] = "nightly",
        ["time"] = "2026-11-28T02:00:00.1234567Z",
        ["id"] = "5d5e6f60-0000-4000-8000-000000000001",
        ["bitmap"] = "daily",
        ["baseline"] = "5d5e6f60-0000-4000-8000-000000000002",
    };

    [Fact]
    public async Task A_snapshot_comes_back_as_it_was_told()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("a disk, 50%", SizeBytes);
        await disk.Bitmaps.CreateAsync("daily");
        Session first = await Rig.StartAsync(disk, new SessionOptions { Bitmap = "daily" });
        await first.StopAsync(isSuccess: true);
        Session session = await Rig.StartAsync(disk, new SessionOptions { Name = "nightly", Bitmap = "daily", Consumers = ["here"] });

        ExportIdentity told = SessionExport.IdentityOf(session, "here")!;
        ExportIdentity? read = ExportIdentity.Read(Uri, told.ToPairs().ToDictionary());

        Assert.Equal(told, read);
        Assert.Equal(first.InstantId, read!.BaselineId);
        Assert.Equal(session.StartedAt, read.Instant);
        Assert.False(read.IsTorn);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_disk_comes_back_as_it_was_told(bool isReadOnly)
    {
        await using Rig rig = new();
        Disk disk = await rig.RemountAsync(await rig.AddDiskAsync("vm", SizeBytes), isReadOnly);

        ExportIdentity told = ExportIdentities.Of(disk, guestCount: 2);
        ExportIdentity? read = ExportIdentity.Read(Uri, told.ToPairs().ToDictionary());

        Assert.Equal(told, read);
        Assert.Equal((false, "vm", 2, !isReadOnly), (read!.IsSnapshot, read.DiskName, read.GuestCount, read.IsTorn));
    }

    [Fact]
    public async Task A_session_of_ranges_tells_that_it_counts_from_nothing()
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(
            await rig.AddDiskAsync("vm", SizeBytes), new SessionOptions { Ranges = [new BlockRange(0, 4096)] });

        Assert.True(SessionExport.IdentityOf(session, consumer: null)!.IsLimited);
    }

    [Fact]
    public async Task A_name_that_can_not_be_told_leaves_a_disk_live_and_a_snapshot_untold()
    {
        await using Rig rig = new();
        string path = rig.Folder.File("vm.raw");
        await FileNode.Create(path, SizeBytes).DisposeAsync();
        await using Disk disk = await Disk.OpenAsync(path, new string('x', IdentityNames.MaximumValueBytes + 1));
        Session session = await Rig.StartAsync(disk, new SessionOptions { Name = "nightly" });

        ExportIdentity? read = ExportIdentity.Read(Uri, ExportIdentities.Of(disk, 0).ToPairs().ToDictionary());

        Assert.True(read!.IsTorn);
        Assert.Null(read.DiskName);
        Assert.Null(SessionExport.IdentityOf(session, consumer: null));
    }

    [Theory]
    [InlineData("disk", null)]
    [InlineData("disk", "../vm")]
    [InlineData("disk", "v*m")]
    [InlineData("disk", " ")]
    [InlineData("session", null)]
    [InlineData("session", "a/b")]
    [InlineData("consumer", "a/b")]
    [InlineData("time", null)]
    [InlineData("time", "yesterday")]
    [InlineData("time", "2026-11-28T02:00:00.1234567+01:00")]
    [InlineData("time", "2026-11-28T02:00:00.1234567")]
    [InlineData("id", null)]
    [InlineData("id", "5d5e6f60")]
    [InlineData("id", "{5d5e6f60-0000-4000-8000-000000000001}")]
    [InlineData("id", "00000000-0000-0000-0000-000000000000")]
    [InlineData("baseline", "x")]
    [InlineData("baseline", "5d5e6f60-0000-4000-8000-000000000001")]
    [InlineData("bitmap", null)]
    [InlineData("limited", "no")]
    [InlineData("limited", "yes")]
    [InlineData("shared", "maybe")]
    [InlineData("shared", "yes")]
    public void A_snapshot_that_can_not_be_one_is_refused(string key, string? value)
    {
        Dictionary<string, string> told = new(Snapshot);
        told.Remove(key);
        if (value is not null)
        {
            told.Add(key, value);
        }

        BlockException failure = Assert.Throws<BlockException>(() => ExportIdentity.Read(Uri, told));

        Assert.Equal(NbdErrors.ProtocolViolated, failure.Kind);
    }

    [Theory]
    [InlineData("disk", "a/b")]
    [InlineData("guests", "-1")]
    [InlineData("guests", "99999999999999999999")]
    public void A_disk_that_can_not_be_one_is_refused(string key, string value) => Assert.Throws<BlockException>(
        () => ExportIdentity.Read(Uri, new Dictionary<string, string> { ["kind"] = "disk", [key] = value }));

    [Fact]
    public void Keys_of_a_later_version_are_passed_over()
    {
        Dictionary<string, string> told = new(Snapshot) { ["color"] = "blue" };

        Assert.Equal(ExportIdentity.Read(Uri, Snapshot), ExportIdentity.Read(Uri, told));
    }

    [Theory]
    [InlineData("writers", "some")]
    [InlineData("writers", "NONE")]
    public void A_disk_is_live_unless_it_tells_that_nothing_writes(string key, string value) =>
        Assert.True(ExportIdentity.Read(Uri, new Dictionary<string, string> { ["kind"] = "disk", [key] = value })!.IsTorn);

    [Fact]
    public void A_kind_of_a_later_version_tells_nothing()
    {
        Dictionary<string, string> told = new(Snapshot) { ["kind"] = "pool" };

        Assert.Null(ExportIdentity.Read(Uri, told));
        Assert.Null(ExportIdentity.Read(Uri, new Dictionary<string, string>()));
    }
}
