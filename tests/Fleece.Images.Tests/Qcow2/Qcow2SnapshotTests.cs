// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>Internal snapshots: listed, read, and kept while the active state is written.</summary>
public sealed class Qcow2SnapshotTests : IDisposable
{
    private const int SizeBytes = (4 * 1024 * 1024) + 512;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("compat=1.1")]
    [InlineData("compat=0.10")]
    [InlineData("cluster_size=512,refcount_bits=2")]
    [InlineData("cluster_size=2M")]
    [InlineData("extended_l2=on,cluster_size=16384")]
    [InlineData("refcount_bits=64,cluster_size=4096")]
    public async Task Writing_keeps_every_snapshot_and_counts_every_cluster(string options)
    {
        Qemu.SkipWhenMissing();
        Seeds seeds = Seeds.FromEnvironment();
        string path = Make(options);
        byte[] one = Snapshot(path, "one");
        byte[] two = Snapshot(path, "two");
        ReferenceDisk disk = new(SizeBytes);
        disk.Write(0, Qemu.Content(path));
        for (int round = 0; round < 2; round++)
        {
            await using (ImageNode node = Images.Open(path))
            {
                await disk.CheckAllAsync(node);
                for (int i = 0; i < 80; i++)
                {
                    await Images.RandomRequestAsync(node, disk, seeds, new BlockRange(0, SizeBytes));
                }

                await disk.CheckAllAsync(node);
                await disk.CheckStatusAsync(node);
            }

            Images.CheckWithQemu(path, disk, $"round {round}");
            Assert.Equal(one, Snapshot(path, "one"));
            Assert.Equal(two, Snapshot(path, "two"));
        }

        Assert.Equal(one, await ReadAsync(path, "one"));
        Assert.Equal(two, await ReadAsync(path, "2"));
        Qemu.Image("snapshot", "-d", "one", path);
        Images.CheckWithQemu(path, disk, "after a snapshot was removed");
        Qemu.Image("snapshot", "-a", "two", path);
        Qemu.CheckClean(path);
        Assert.Equal(two, Qemu.Content(path));
    }

    [Fact]
    public async Task Snapshots_are_listed_with_their_sizes_and_times()
    {
        Qemu.SkipWhenMissing();
        string path = Make("compat=1.1");

        ImageInfo info = await Image.GetInfoAsync(path, null, CancellationToken.None);

        Assert.Equal(["one", "two"], info.Snapshots.Select(snapshot => snapshot.Name));
        Assert.Equal(["1", "2"], info.Snapshots.Select(snapshot => snapshot.Id));
        Assert.All(info.Snapshots, snapshot =>
        {
            Assert.Equal(SizeBytes, snapshot.SizeBytes);
            Assert.Equal(0, snapshot.VmStateBytes);
            Assert.InRange(snapshot.CreatedAt, DateTimeOffset.UtcNow.AddHours(-2), DateTimeOffset.UtcNow.AddHours(2));
        });
    }

    [Fact]
    public void A_snapshot_that_is_not_there_is_an_error_that_lists_those_that_are()
    {
        Qemu.SkipWhenMissing();
        string path = Make("compat=1.1");

        BlockException failure = Assert.Throws<BlockException>(
            () => Images.Open(path, new ImageOpenOptions { IsReadOnly = true, SnapshotName = "three" }));

        Assert.Equal(BlockErrors.NotFound, failure.Kind);
        Assert.Contains("'one', 'two'", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_snapshot_with_control_characters_is_shown_printable_and_opened_by_both_names()
    {
        Qemu.SkipWhenMissing();
        string path = Make("compat=1.1");
        Qemu.Image("snapshot", "-q", "-c", "s\u001b[2J", path);

        ImageSnapshot snapshot = (await Image.GetInfoAsync(path, null, CancellationToken.None)).Snapshots[^1];

        Assert.Equal("s\\u001b[2J", snapshot.Name);
        Assert.Equal(await ReadAsync(path, "s\u001b[2J"), await ReadAsync(path, snapshot.Name));
    }

    [Fact]
    public async Task A_snapshot_of_a_smaller_disk_has_its_own_size()
    {
        Qemu.SkipWhenMissing();
        string path = Make("compat=1.1");
        Qemu.Image("resize", "-q", path, "6M");

        await using ImageNode node = Images.Open(path, new ImageOpenOptions { IsReadOnly = true, SnapshotName = "one" });

        Assert.Equal(SizeBytes, node.Geometry.LengthBytes);
    }

    [Fact]
    public async Task Bitmaps_are_listed_with_what_they_are_worth()
    {
        Qemu.SkipWhenMissing();
        string path = _folder.NewFile(".qcow2");
        Qemu.Image("create", "-q", "-f", "qcow2", path, "4M");
        Qemu.Image("bitmap", "--add", "-g", "32768", path, "nightly");
        Qemu.Image("bitmap", "--add", "--disable", path, "old");
        Assert.Equal(
            [new ImageBitmap("nightly", 32768, true, false), new ImageBitmap("old", 65536, false, false)],
            (await Image.GetInfoAsync(path, null, CancellationToken.None)).Bitmaps);
        await using (ImageNode node = Images.Open(path))
        {
            await node.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None);
        }

        Assert.All(
            (await Image.GetInfoAsync(path, null, CancellationToken.None)).Bitmaps, bitmap => Assert.True(bitmap.IsInUse));
    }

    private static async ValueTask<byte[]> ReadAsync(string path, string snapshot)
    {
        await using ImageNode node = Images.Open(
            path, new ImageOpenOptions { IsReadOnly = true, SnapshotName = snapshot });
        byte[] content = new byte[node.Geometry.LengthBytes];
        await node.ReadAsync(0, content, CancellationToken.None);
        return content;
    }

    private static byte[] Snapshot(string path, string name)
    {
        string raw = path + ".snapshot";
        Qemu.Image("convert", "-f", "qcow2", "-O", "raw", "-l", $"snapshot.name={name}", path, raw);
        byte[] bytes = File.ReadAllBytes(raw);
        File.Delete(raw);
        return bytes;
    }

    private string Make(string options)
    {
        string path = _folder.NewFile(".qcow2");
        Qemu.Image("create", "-q", "-f", "qcow2", "-o", options, path, $"{SizeBytes}");
        Qemu.Io(path, "write -P 1 0 1500k", "write -P 2 4194304 512");
        Qemu.Image("snapshot", "-c", "one", path);
        Qemu.Io(path, "write -P 3 1M 70000", "write -z 0 128k", "write -P 4 3M 100k");
        Qemu.Image("snapshot", "-c", "two", path);
        Qemu.Io(path, "write -P 5 10k 3k");
        return path;
    }
}
