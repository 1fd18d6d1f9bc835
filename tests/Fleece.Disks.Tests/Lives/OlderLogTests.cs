// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Tests.Lives;

/// <summary>A log that was put back from a copy has the identity of the one that the session had, and not all of it.</summary>
public sealed class OlderLogTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_session_whose_log_is_put_back_as_it_was_earlier_is_lost(bool isPutBack)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, "mount:vm.raw", "bitmap:vm:daily", "write:vm:1", "start:a:-:daily:-:vm", "write:vm:11");
        string log = Assert.Single(Directory.GetFiles(rig.Folder.File("sessions"), "*.log"));
        byte[] earlier = await File.ReadAllBytesAsync(log);
        await rig.LiveAsync(null, "mount:vm.raw", "write:vm:12", "beat:vm");
        if (isPutBack)
        {
            await using FileStream file = new(log, FileMode.Open, FileAccess.Write);
            await file.WriteAsync(earlier);
        }

        await rig.DoAsync("mount:vm.raw");

        if (!isPutBack)
        {
            await rig.AssertAsync("vm");
            return;
        }

        Assert.Empty(rig.Disks["vm"].Sessions);
        Assert.Contains("older state", LostSession.List(rig.Sessions).Single().Reason, StringComparison.Ordinal);
    }
}
