// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Exports;
using Fleece.Nbd;

namespace Fleece.Disks.Tests;

/// <summary>Names that no client could ask for, or that a terminal would obey, are refused where they are given.</summary>
public sealed class NameTests : IAsyncDisposable
{
    private const int MaximumBytes = 4096;

    private readonly Rig _rig = new();
    private readonly MountedDisks _disks = new();

    public async ValueTask DisposeAsync()
    {
        await _disks.DisposeAsync();
        await _rig.DisposeAsync();
    }

    [Fact]
    public async Task A_disk_has_the_longest_name_that_NBD_allows_and_none_that_is_longer()
    {
        string path = await ImageAsync();

        BlockException refusal = await RefusedAsync(() => _disks.MountAsync(path, Name(MaximumBytes + 1)).AsTask());
        Disk disk = await _disks.MountAsync(path, Name(MaximumBytes));

        AssertSaysLength(refusal, MaximumBytes + 1);
        await PublishAsync(disk, null);
    }

    [Fact]
    public async Task A_session_and_its_consumer_fit_behind_the_disks_name()
    {
        Disk disk = await _disks.MountAsync(await ImageAsync(), Name(MaximumBytes - 8));

        BlockException longSession = await RefusedAsync(() => StartAsync(disk, "12345678"));
        BlockException longConsumer = await RefusedAsync(() => StartAsync(disk, "1234", "5678"));
        await StartAsync(disk, "1234567");
        await StartAsync(disk, "1234", "56");

        AssertSaysLength(longSession, MaximumBytes + 1);
        AssertSaysLength(longConsumer, MaximumBytes + 2);
    }

    [Fact]
    public async Task A_session_fits_behind_the_name_that_the_disk_is_published_under()
    {
        Disk disk = await _disks.MountAsync(await ImageAsync(), "vm");
        DiskExport export = await PublishAsync(disk, Name(MaximumBytes - 4));

        AssertSaysLength(await RefusedAsync(() => StartAsync(disk, "1234")), MaximumBytes + 1);
        await _disks.Exports.UnpublishAsync(export);
        await StartAsync(disk, "1234");
    }

    [Fact]
    public async Task An_export_name_leaves_room_for_the_sessions_that_run()
    {
        Disk disk = await _disks.MountAsync(await ImageAsync(), "vm");
        await StartAsync(disk, "12", "45");

        AssertSaysLength(await RefusedAsync(() => PublishAsync(disk, Name(MaximumBytes + 1))), MaximumBytes + 1);
        AssertSaysLength(await RefusedAsync(() => PublishAsync(disk, Name(MaximumBytes - 5))), MaximumBytes + 1);
        await PublishAsync(disk, Name(MaximumBytes - 6));
    }

    [Theory]
    [InlineData("vm\u001b[2J")]
    [InlineData("vm\n")]
    [InlineData("vm\u009b31m")]
    [InlineData("vm\u202egnp")]
    public Task What_a_terminal_obeys_is_in_no_new_name(string name) => AssertRefusedAsync(name);

    // Two disks of such names would be one in a file of metrics and on the wire. Attributes can't hold them, so these are facts.
    [Fact]
    public Task The_first_half_of_a_surrogate_pair_is_in_no_new_name() => AssertRefusedAsync("lone\ud800x");

    [Fact]
    public Task The_second_half_of_a_surrogate_pair_is_in_no_new_name() => AssertRefusedAsync("lone\udc00");

    [Fact]
    public async Task A_whole_surrogate_pair_is_in_a_name_as_any_other_letter()
    {
        Disk disk = await _disks.MountAsync(await ImageAsync(), "vm \U0001F469\u200D\U0001F4BB");

        Session session = await StartAsync(disk, "\U0001F319");

        Assert.Equal("vm \U0001F469\u200D\U0001F4BB/\U0001F319", session.Id);
    }

    private static string Name(int lengthBytes) => new('n', lengthBytes);

    private static void AssertSaysLength(BlockException refusal, int lengthBytes)
    {
        Assert.Contains($"{lengthBytes} bytes", refusal.Message, StringComparison.Ordinal);
        Assert.Contains($"{MaximumBytes}", refusal.Message, StringComparison.Ordinal);
        Assert.True(refusal.Message.Length < 500, refusal.Message);
    }

    private static async Task<BlockException> RefusedAsync(Func<Task> work)
    {
        BlockException refusal = await Assert.ThrowsAsync<BlockException>(work);
        Assert.Equal(BlockErrors.InvalidArgument, refusal.Kind);
        Assert.True(PrintableText.IsPrintable(refusal.Message));
        return refusal;
    }

    private async Task AssertRefusedAsync(string name)
    {
        Disk disk = await _disks.MountAsync(await ImageAsync(), "vm");

        await RefusedAsync(async () => await _disks.MountAsync(await ImageAsync("other"), name));
        await RefusedAsync(() => StartAsync(disk, name));
        await RefusedAsync(() => StartAsync(disk, "nightly", name));
        await RefusedAsync(() => disk.Bitmaps.CreateAsync(name).AsTask());
        await RefusedAsync(() => PublishAsync(disk, name));
        Assert.Empty(disk.Sessions);
        Assert.Empty(_disks.Exports.All);
    }

    private static Task<Session> StartAsync(Disk disk, string name, params string[] consumers) =>
        Rig.StartAsync(disk, new SessionOptions { Name = name, Consumers = consumers });

    private async Task<string> ImageAsync(string name = "vm")
    {
        string path = _rig.Folder.File($"{name}.raw");
        await File.WriteAllBytesAsync(path, new byte[64 * 1024]);
        return path;
    }

    private async Task<DiskExport> PublishAsync(Disk disk, string? name) => await _disks.Exports.PublishAsync(
        disk, new ExportOptions { ListenUri = NbdUri.Parse($"nbd+unix:///?socket={_rig.Folder.File("nbd.sock")}"), Name = name });
}
