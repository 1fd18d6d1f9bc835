// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks.Resuming;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Lives;

/// <summary>A mount that is refused leaves sessions as they were, and one of another image never touches them.</summary>
public sealed class RefusedMountTests
{
    private static readonly string[] Killed = ["mount:vm.raw", "bitmap:vm:daily", "write:vm:1", "start:a:-:daily:-:vm", "write:vm:11"];

    public RefusedMountTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "Elsewhere no session outlives its process.");

    [Theory]
    [InlineData("temp is gone", false)]
    [InlineData("temp is gone", true)]
    [InlineData("temp is in use", false)]
    [InlineData("temp is in use", true)]
    [InlineData("the marker is damaged", false)]
    [InlineData("the marker is damaged", true)]
    [InlineData("the disk is shared", false)]
    [InlineData("the disk is shared", true)]
    public async Task A_session_that_lacks_something_waits_for_it_and_nothing_is_changed(string what, bool isSuspended)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, isSuspended ? [.. Killed, "suspend:vm"] : Killed);
        string temp = Directory.GetFiles(rig.Folder.Path, "*.fleece-kept-temp").Single();
        string marker = rig.Folder.File("vm.raw.fleece-sessions");
        byte[] marked = await File.ReadAllBytesAsync(marker, TestContext.Current.CancellationToken);
        DateTime markedAt = File.GetLastWriteTimeUtc(marker);
        using LocalFile? user = what == "temp is in use" ? LocalFile.Open(temp, isReadOnly: false) : null;
        switch (what)
        {
            case "temp is gone":
                File.Move(temp, temp + ".away");
                break;
            case "the marker is damaged":
                await File.WriteAllBytesAsync(marker, [.. "x"u8, .. marked], TestContext.Current.CancellationToken);
                break;
        }

        string[] before = StateOf(rig);
        BlockException refusal = await Assert.ThrowsAsync<BlockException>(
            async () => await OpenAsync(rig, SessionHandling.Resume, isShared: what == "the disk is shared"));

        Assert.Equal(ImageErrors.ImageHasSession, refusal.Kind);
        Assert.Contains("-DiscardSessions", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(before, StateOf(rig));
        user?.Dispose();
        if (what == "temp is gone")
        {
            File.Move(temp + ".away", temp);
        }

        await File.WriteAllBytesAsync(marker, marked, TestContext.Current.CancellationToken);
        File.SetLastWriteTimeUtc(marker, markedAt);
        await rig.DoAsync("mount:vm.raw", "write:vm:21");
        await rig.AssertAsync("vm");
        await rig.DoAsync("stop:vm:a:success");
        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
    }

    [Fact]
    public async Task Where_guests_come_first_the_disk_is_served_and_the_reason_says_when()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        string temp = Directory.GetFiles(rig.Folder.Path, "*.fleece-kept-temp").Single();
        File.Move(temp, temp + ".away");

        await using (Disk disk = await OpenAsync(rig, SessionHandling.ResumeOrLose))
        {
            Assert.Empty(disk.Sessions);
            rig.Truth.AssertBitmap(disk, "daily");
        }

        LostSession lost = LostSession.List(rig.Sessions).Single();
        Assert.False(lost.CanResume);
        Assert.Contains("guests come first", lost.Reason, StringComparison.Ordinal);
        Assert.Contains(temp, lost.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_session_that_waits_can_be_given_up_by_a_mount_or_by_itself()
    {
        foreach (bool isByMount in (bool[])[false, true])
        {
            await using LifeRig rig = new();
            await rig.CreateAsync("vm.raw");
            await rig.LiveAsync(null, Killed);
            File.Delete(Directory.GetFiles(rig.Folder.Path, "*.fleece-kept-temp").Single());
            if (!isByMount)
            {
                LostSession waiting = LostSession.List(rig.Sessions).Single();
                Assert.Contains("Put it back", waiting.Reason, StringComparison.Ordinal);
                Assert.Contains($".{waiting.LogId:N}.fleece-kept-temp", waiting.Discard(), StringComparison.Ordinal);
            }

            await using Disk disk = await OpenAsync(rig, isByMount ? SessionHandling.Discard : SessionHandling.Resume);

            Assert.DoesNotContain(disk.Notes, note => note.Contains("by hand", StringComparison.Ordinal));
            rig.Truth.AssertBitmap(disk, "daily");
            Assert.Empty(rig.Leftovers);
        }
    }

    [Fact]
    public async Task An_image_that_is_mounted_in_another_format_keeps_its_suspended_session()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.LiveAsync(null, ["mount:vm.qcow2", "write:vm:1", "start:a:-:-:-:vm", "write:vm:11", "suspend:vm"]);

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(async () => await Disk.OpenAsync(
            rig.Folder.File("vm.qcow2"), "vm", new ImageOpenOptions { Format = ImageFormat.Raw }, folder: rig.Sessions));

        Assert.Equal(ImageErrors.ImageHasSession, refusal.Kind);
        Assert.Equal(StoredState.Suspended, rig.Sessions.List().Single().State);
        await rig.DoAsync("mount:vm.qcow2");
        await rig.AssertAsync("vm");
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task A_mount_of_a_copy_leaves_the_sessions_of_the_original(bool discards, bool isAway)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        string copyFolder = Directory.CreateDirectory(rig.Folder.File("copy")).FullName;
        await Peer.RunAsync("sh", "-c", $"cp -a '{rig.Folder.Path}'/vm.raw* '{copyFolder}'");
        string[] before = StateOf(rig);
        string image = rig.Folder.File("vm.raw");
        if (isAway)
        {
            File.Move(image, image + ".away");
        }

        await using (Disk copy = await Disk.OpenAsync(
            Path.Combine(copyFolder, "vm.raw"),
            "copy",
            folder: rig.Sessions,
            handling: discards ? SessionHandling.Discard : SessionHandling.Resume))
        {
            Assert.Empty(copy.Sessions);
            Assert.Contains(copy.Notes, note => note.Contains("'vm/a'", StringComparison.Ordinal));
        }

        if (isAway)
        {
            File.Move(image + ".away", image);
        }

        Directory.Delete(copyFolder, recursive: true);
        Assert.Equal(before.Where(line => !line.StartsWith(copyFolder, StringComparison.Ordinal)), StateOf(rig));
        await rig.DoAsync("mount:vm.raw", "write:vm:21");
        await rig.AssertAsync("vm");
    }

    [Fact]
    public async Task A_folder_of_copied_logs_leaves_the_sessions_of_the_logs_that_they_are_copies_of()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        string[] before = StateOf(rig);
        string copyFolder = rig.Folder.File("copied-logs");
        await Peer.RunAsync("cp", "-a", rig.Sessions.Path, copyFolder);

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(async () => await Disk.OpenAsync(
            rig.Folder.File("vm.raw"), "vm", folder: SessionFolder.Open(copyFolder), handling: SessionHandling.ResumeOrLose));

        Assert.Equal(ImageErrors.ImageHasSession, refusal.Kind);
        Directory.Delete(copyFolder, recursive: true);
        Assert.Equal(before, StateOf(rig));
        await rig.DoAsync("mount:vm.raw", "write:vm:21");
        await rig.AssertAsync("vm");
    }

    [Theory]
    [InlineData("the user's.txt")]
    [InlineData(null)]
    public async Task A_log_can_claim_no_file_of_the_user_as_its_old_data(string? name)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        StoredSession real = rig.Sessions.List().Single();
        Guid id = Guid.NewGuid();

        // With the right name it is a link, and the user's file behind it.
        string victim = rig.Folder.File("precious");
        await File.WriteAllTextAsync(victim, "precious", TestContext.Current.CancellationToken);
        string claimed = rig.Folder.File(name ?? $"x.{id:N}.fleece-kept-temp");
        File.CreateSymbolicLink(claimed, victim);
        using (SessionLog forged = SessionLog.Create(rig.Sessions, real.Description! with
        {
            Id = id,
            LeaderId = id,
            SessionName = "forged",
            TempPath = name is null ? claimed : victim,
            TempFileId = FileEvidence.Read(victim).FileId,
        }))
        {
            forged.StoreInstant(DateTimeOffset.UtcNow);
            forged.StoreState(StoredState.Running);
            SessionMarker.AddEntry(rig.Folder.File("vm.raw"), new MarkedSession(id, "vm/forged", forged.Path));
        }

        await using (Disk disk = await OpenAsync(rig, SessionHandling.Resume))
        {
            Assert.Equal("a", disk.Sessions.Single().Name);
            await disk.Sessions.Single().StopAsync(isSuccess: false);
        }

        LostSession lost = LostSession.List(rig.Sessions).Single();
        Assert.Contains("left alone", lost.Reason, StringComparison.Ordinal);
        Assert.Contains("was not deleted", lost.Discard(), StringComparison.Ordinal);
        Assert.Empty(LostSession.List(rig.Sessions));
        Assert.Equal("precious", await File.ReadAllTextAsync(victim, TestContext.Current.CancellationToken));
        Assert.True(File.Exists(claimed));
    }

    private static ValueTask<Disk> OpenAsync(LifeRig rig, SessionHandling handling, bool isShared = false) =>
        Disk.OpenAsync(rig.Folder.File("vm.raw"), "vm", folder: rig.Sessions, handling: handling, isShared: isShared);

    // Logs, markers and old data, to the byte and the time.
    private static string[] StateOf(LifeRig rig) =>
    [
        .. from file in Directory.EnumerateFiles(rig.Folder.Path, "*", SearchOption.AllDirectories).Order()
           where Path.GetExtension(file) is ".log" or ".maps" or ".fleece-sessions" or ".fleece-kept-temp"
           select $"{file} {Convert.ToHexString(SHA256.HashData(ReadShared(file)))} {File.GetLastWriteTimeUtc(file):O}",
    ];

    private static byte[] ReadShared(string path)
    {
        using Microsoft.Win32.SafeHandles.SafeFileHandle handle = PosixFlush.OpenUnlocked(path, out _)!;
        byte[] bytes = new byte[RandomAccess.GetLength(handle)];
        RandomAccess.Read(handle, bytes, 0);
        return bytes;
    }
}
