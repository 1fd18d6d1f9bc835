// SPDX-License-Identifier: MIT
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Disks.Resuming;
using Fleece.Disks.Storage;
using Fleece.Disks.Tests.Resuming;
using Fleece.Images;

namespace Fleece.Disks.Tests.Lives;

/// <summary>A parent shows through the snapshot and the bitmaps of its child, so it has to be as it was.</summary>
public sealed class ChangedParentTests
{
    private static readonly ParentFile Base = new("/vm/base.raw", 1, 4096, 70);

    [Theory]
    [InlineData(null)]
    [InlineData("suspend:vm")]
    public async Task A_session_whose_parent_was_changed_while_no_process_had_the_disk_is_lost(string? end)
    {
        await using LifeRig rig = new();
        string parent = await LiveOverParentAsync(rig, end);
        File.SetLastWriteTimeUtc(parent, DateTime.UtcNow.AddMinutes(-1));

        await rig.DoAsync("mount:vm.qcow2");

        Assert.Empty(rig.Disks["vm"].Sessions);
        string reason = LostSession.List(rig.Sessions).Single().Reason;
        Assert.Contains($"'{parent}' was changed without it", reason, StringComparison.Ordinal);
        Assert.Contains("parent", rig.Disks["vm"].Bitmaps.Find("daily").Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("suspend:vm")]
    public async Task A_session_whose_parent_is_as_it_was_goes_on(string? end)
    {
        await using LifeRig rig = new();
        await LiveOverParentAsync(rig, end);

        await rig.DoAsync("mount:vm.qcow2");

        await rig.AssertAsync("vm");
        Assert.Null(rig.Disks["vm"].Bitmaps.Find("daily").Reason);
    }

    [Fact]
    public void A_parent_is_told_by_its_identity_length_and_time_and_not_by_its_place()
    {
        Assert.Null(Find([Base], [Base with { Path = "/elsewhere/base.raw" }]));
        Assert.Contains("replaced or copied", Find([Base], [Base with { FileId = 2 }]), StringComparison.Ordinal);
        Assert.Contains("changed without it", Find([Base], [Base with { LengthBytes = 1 }]), StringComparison.Ordinal);
        Assert.Contains("changed without it", Find([Base], [Base with { ModifiedTicks = 71 }]), StringComparison.Ordinal);
        Assert.Contains("another chain", Find([Base], []), StringComparison.Ordinal);
        Assert.Contains("another chain", Find([], [Base]), StringComparison.Ordinal);
    }

    [Fact]
    public void The_files_below_a_parent_are_those_that_a_mount_of_it_has()
    {
        ParentFile data = new("/vm/middle.data", 2, 1, 1) { DataOf = "/vm/middle" };
        ParentFile middle = new("/vm/middle", 3, 1, 1);

        Assert.Equal([Base], ParentFile.Below([middle, Base, data], middle.Path));
        Assert.Empty(ParentFile.Below([middle, Base], Base.Path));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Bitmaps_of_a_sidecar_are_trusted_as_long_as_the_parent_is_as_it_was(bool isChanged)
    {
        await using Rig rig = new();
        string parent = rig.Folder.File("base.vhdx");
        string path = rig.Folder.File("vm.vhdx");
        await Image.CreateAsync(parent, new ImageCreateOptions { Format = ImageFormat.Vhdx, SizeBytes = LifeSteps.SizeBytes });
        await Image.CreateAsync(path, new ImageCreateOptions { Format = ImageFormat.Vhdx, ParentPath = parent });
        Disk disk = await rig.OpenAsync(path);
        await disk.Bitmaps.CreateAsync("daily");
        await disk.DisposeAsync();
        if (isChanged)
        {
            File.SetLastWriteTimeUtc(parent, DateTime.UtcNow.AddMinutes(-1));
        }

        // Moved together, both are the files that they were.
        string moved = Directory.CreateDirectory(rig.Folder.File("moved")).FullName;
        foreach (string file in new[] { parent, path, Sidecar.PathFor(path) })
        {
            File.Move(file, Path.Combine(moved, Path.GetFileName(file)));
        }

        Bitmap bitmap = (await rig.OpenAsync(Path.Combine(moved, "vm.vhdx"))).Bitmaps.Find("daily");

        Assert.Equal(isChanged, bitmap.Reason?.Contains("A parent of the image was changed", StringComparison.Ordinal) ?? false);
    }

    private static string? Find(ParentFile[] former, ParentFile[] present)
    {
        using LogRig rig = new();
        return ResumeRules.FindParentChange(rig.Describe() with { Parents = former }, present);
    }

    private static async Task<string> LiveOverParentAsync(LifeRig rig, string? end)
    {
        await rig.CreateAsync("base.raw");
        string parent = rig.Folder.File("base.raw");
        await Image.CreateAsync(
            rig.Folder.File("vm.qcow2"),
            new ImageCreateOptions { Format = ImageFormat.Qcow2, ParentPath = parent, ParentFormat = ImageFormat.Raw });
        string[] steps = ["mount:vm.qcow2", "bitmap:vm:daily", "write:vm:1", "start:a:-:daily:-:vm", "write:vm:11"];
        Assert.Null(await rig.LiveAsync(null, end is null ? steps : [.. steps, end]));
        return parent;
    }
}
