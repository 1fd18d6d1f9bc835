// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>Cases F1 to F7 of the conformance list with its exact ranges on a 64 MiB disk; qemu-io is guest and reader.</summary>
/// <remarks>
/// F1 lists QEMU's ways of building the graph. Fleece has one, over any active and temp image, whole or limited; the push
/// backup is F6.
/// </remarks>
public sealed class FleecingConformance
{
    private const long DiskBytes = 64 * 1024 * 1024;

    private static readonly string[] Data = ["-P 0x11 0 64k", "-P 0x22 1M 64k", "-P 0x33 32M 64k", "-P 0x44 0x3ff0000 64k"];
    private static readonly string[] NeverWritten = ["-P 0 0xf8000 32k", "-P 0 0x2010000 32k", "-P 0 0x3fe0000 64k"];
    private static readonly string[] Overwrites =
        ["-P 0xa1 0 64k", "-P 0xa2 0xf8000 64k", "-P 0xa3 0x2008000 64k", "-P 0xa4 0x3fe0000 64k"];
    private static readonly string[] Remainder = ["-P 0x22 0x108000 32k", "-P 0x33 32M 32k", "-P 0x44 0x3ff0000 64k"];

    // The bitmap that guests' first writes leave.
    private static readonly BlockRange[] DataRanges =
        [new(0, 65536), new(0x100000, 65536), new(0x2000000, 65536), new(0x3ff0000, 65536)];

    public static TheoryData<ImageFormat, string, bool> Modes => new(
        from format in (ImageFormat[])[ImageFormat.Raw, ImageFormat.Qcow2]
        from temp in (string[])["temp.raw", "temp.qcow2"]
        from isLimited in (bool[])[false, true]
        select (format, temp, isLimited));

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task F1_every_mode_shows_the_instant_before_and_after_the_guest_writes(ImageFormat format, string temp, bool isLimited)
    {
        await using ServedDisk served = await StartAsync(format);
        Session session = await served.StartSessionAsync(
            new SessionOptions { TempPath = served.Folder.File(temp), Ranges = isLimited ? DataRanges : null });

        await QemuIo.RunAsync(served.UriOf(session), Reads(Data));
        await OverwriteAsync(served);
        await QemuIo.RunAsync(served.UriOf(session), Reads(Data));
    }

    [Fact]
    public async Task F2_before_writes_the_reader_sees_the_four_patterns_and_zero_in_the_never_written_spots()
    {
        await using ServedDisk served = await StartAsync();
        Session session = await served.StartSessionAsync();

        await QemuIo.RunAsync(served.UriOf(session), Reads([.. Data, .. NeverWritten]));
    }

    [Fact]
    public async Task F3_the_guest_sees_what_it_overwrote()
    {
        await using ServedDisk served = await StartAsync();
        await served.StartSessionAsync();

        await OverwriteAsync(served);

        await QemuIo.RunAsync(served.Uri, Reads([.. Overwrites, .. Remainder]));
    }

    [Fact]
    public async Task F4_after_overwrites_the_reader_still_sees_the_instant()
    {
        await using ServedDisk served = await StartAsync();
        Session session = await served.StartSessionAsync();

        await OverwriteAsync(served);

        await QemuIo.RunAsync(served.UriOf(session), Reads([.. Data, .. NeverWritten]));
    }

    // One request over copied and untouched granules, in both directions; there QEMU 7.2 hands out new data (hazard 11).
    [Theory]
    [InlineData("read -v 0 128k")]
    [InlineData("read -P 0x33 -s 64k -l 64k 0x1ff0000 192k")]
    [InlineData("read -P 0x22 -s 32k -l 64k 0xf8000 96k")]
    public async Task F4_one_read_over_the_border_of_an_overwrite_sees_the_instant(string read)
    {
        await using ServedDisk served = await StartAsync();
        Session session = await served.StartSessionAsync();
        string before = await QemuIo.RunAsync(served.UriOf(session), read);

        await OverwriteAsync(served);

        Assert.Equal(Content(before), Content(await QemuIo.RunAsync(served.UriOf(session), read)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task F5_with_a_bitmap_the_spots_outside_fail_before_and_after_the_writes(bool isOverwritten)
    {
        await using ServedDisk served = await StartAsync();
        Session session = await served.StartSessionAsync(new SessionOptions { Ranges = DataRanges });
        if (isOverwritten)
        {
            await OverwriteAsync(served);
        }

        foreach (string spot in NeverWritten)
        {
            await QemuIo.AssertRefusedAsync(served.UriOf(session), "read " + spot, QemuIo.NotPermitted);
        }

        await QemuIo.RunAsync(served.UriOf(session), Reads(Data));
    }

    // The backup's consumer waits after its first chunk: that is the job throttled to next to nothing.
    [Fact]
    public async Task F6_a_push_backup_during_which_the_guest_writes_equals_the_instant()
    {
        await using ServedDisk served = await StartAsync();
        Session session = await served.StartSessionAsync();
        string target = served.Folder.File("target.qcow2");
        await using (SnapshotRead read = new(session, new SnapshotReadOptions { DiscardConsumed = true }))
        {
            SnapshotChunk? chunk = await read.NextAsync();
            FileTarget file = await FileTarget.CreateAsync(new FileTargetOptions { Path = target }, session, CancellationToken.None);
            await using BackupWriter writer = new(session, file);
            await writer.WriteAsync(chunk!);
            await OverwriteAsync(served);
            while ((chunk = await read.NextAsync()) is not null)
            {
                await writer.WriteAsync(chunk);
            }

            await writer.CompleteAsync();
        }

        string raw = served.Folder.File("target.raw");
        await Peer.RunAsync("qemu-img", "convert", "-f", "qcow2", "-O", "raw", target, raw);
        await QemuIo.RunAsync(raw, Reads([.. Data, .. NeverWritten]));
    }

    [Fact]
    public async Task F6_QEMUs_own_job_over_NBD_during_which_the_guest_writes_copies_the_instant()
    {
        Peer.Need("qemu-storage-daemon");
        await using ServedDisk served = await StartAsync();
        Session session = await served.StartSessionAsync();
        string target = served.Folder.File("target.raw");
        await FileNode.Create(target, DiskBytes).DisposeAsync();
        await using QemuJob job = await QemuJob.StartThrottledAsync(served.UriOf(session), target);

        await OverwriteAsync(served);
        Assert.True(await job.IsRunningAsync());
        await job.FinishAsync();

        await QemuIo.RunAsync(target, Reads([.. Data, .. NeverWritten]));
    }

    [Fact]
    public async Task F7_after_the_session_the_base_holds_the_new_data_and_the_untouched_remainders()
    {
        await using ServedDisk served = await StartAsync();
        Session session = await served.StartSessionAsync();
        await OverwriteAsync(served);

        await session.StopAsync();

        await QemuIo.RunAsync(served.Uri, Reads([.. Overwrites, .. Remainder]));
    }

    [Fact]
    public async Task F7_after_the_session_its_export_and_its_temp_are_gone_and_the_guest_stays_connected()
    {
        await using ServedDisk served = await StartAsync();
        await using QemuIo guest = QemuIo.Connect(served.Uri);
        Session session = await served.StartSessionAsync();
        Assert.Contains("wrote 65536/65536", await guest.DoAsync("write -P 0xa1 0 64k"), StringComparison.Ordinal);

        await session.StopAsync();

        PeerResult late = await Peer.TryRunAsync("qemu-io", "-f", "raw", "-c", "read 0 64k", served.UriOf(session));
        Assert.NotEqual(0, late.ExitCode);
        Assert.False(File.Exists(session.TempPath));
        Assert.Contains("read 65536/65536", await guest.DoAsync("read -P 0xa1 0 64k"), StringComparison.Ordinal);
    }

    private static async Task<ServedDisk> StartAsync(ImageFormat format = ImageFormat.Raw)
    {
        Peer.Need("qemu-io", "qemu-img");
        ServedDisk served = await ServedDisk.StartAsync(DiskBytes, format);
        await QemuIo.RunAsync(served.Uri, Writes(Data));
        return served;
    }

    private static Task<string> OverwriteAsync(ServedDisk served) => QemuIo.RunAsync(served.Uri, Writes(Overwrites));

    private static string[] Reads(string[] spots) => [.. spots.Select(spot => "read " + spot)];

    private static string[] Writes(string[] spots) => [.. spots.Select(spot => "write " + spot)];

    // qemu-io's dump without the lines that tell the speed.
    private static string Content(string output) =>
        string.Join('\n', output.Split('\n').Where(line => !line.Contains("ops", StringComparison.Ordinal)));
}
