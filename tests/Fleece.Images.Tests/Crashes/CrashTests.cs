// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Crashes;

/// <summary>A crash of the system leaves leaks at most, and everything that was flushed, in every format.</summary>
public sealed class CrashTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public static TheoryData<string> Rows => CrashRows.Names;

    public void Dispose() => _folder.Dispose();

    // Method: at random moments, and before every second flush of the file, a file is put together from what was flushed and a random part
    // of what was not, in order, and judged by CrashJudge.
    [Theory]
    [MemberData(nameof(Rows))]
    public async Task A_crash_at_any_moment_leaves_leaks_at_most_and_keeps_what_was_flushed(string name)
    {
        CrashRow row = CrashRows.Find(name);
        Seeds seeds = Seeds.FromEnvironment();
        for (int round = 0; round < row.Rounds; round++)
        {
            CrashRun run = new(row, _folder, seeds.Fork());
            await run.RequestsAsync(row.Requests);
            await run.CloseAsync();
            run.Judge.CheckClosed(run.File.Content, run.Context);
        }
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public async Task An_image_goes_on_after_each_of_many_crashes(string name)
    {
        CrashRow row = CrashRows.Find(name);
        CrashRun run = new(row, _folder, Seeds.FromEnvironment());
        for (int crash = 0; crash < row.Generations; crash++)
        {
            await run.RequestsAsync(6, flushPercent: 30);
            await run.GoOnAfterCrashAsync();
        }

        run.Judge.CheckRepair(run.File.Content, run.History, run.Context);
        await run.GiveUpAsync();
    }

    // The image is what a crash leaves of one that was written in full, with a log in it where the format has one.
    [Theory]
    [MemberData(nameof(Rows))]
    public async Task A_crash_while_an_image_is_opened_again_or_repaired_loses_nothing(string name)
    {
        CrashRow row = CrashRows.Find(name);
        Seeds seeds = Seeds.FromEnvironment();
        CrashRun run = new(row, _folder, seeds);
        await run.WriteAsync(0, seeds.Bytes(run.Node.Geometry.LengthBytes), WriteFlags.ForceUnitAccess);
        byte[] crashed = run.File.Crash(() => false);
        await run.GiveUpAsync();

        Assert.Equal(row.IsDirtyAfterCrash, run.Judge.IsDirty(crashed));
        for (int i = 0; i < 3; i++)
        {
            run.Judge.CheckOpening(crashed, run.History, run.Context);
            run.Judge.CheckRepair(crashed, run.History, run.Context);
        }
    }

    // Method: an image that only grows, through new tables; a crash before every flush of
    // the file.
    [Theory]
    [MemberData(nameof(Rows))]
    public async Task A_crash_inside_the_write_back_of_a_growing_image_leaves_leaks_at_most(string name)
    {
        CrashRow row = CrashRows.Find(name);
        CrashRun run = new(row, _folder, Seeds.FromEnvironment()) { CrashesPerFlush = 1 };
        long lengthBytes = run.File.GetLength();
        await run.GrowAsync(0, (int)run.Node.Geometry.LengthBytes, Math.Max(row.BlockBytes, 32 * 1024));

        Assert.True(run.File.GetLength() > lengthBytes);
        await run.CloseAsync();
        run.Judge.CheckClosed(run.File.Content, run.Context);
    }

    [Fact]
    public async Task A_crash_while_a_qcow2_image_gets_refcount_blocks_leaves_leaks_at_most()
    {
        const int DiskBytes = 1024 * 1024;
        CrashRow row = CrashRows.Qcow2("qcow2 of 1 MiB", new ImageCreateOptions { Format = ImageFormat.Qcow2 }, diskBytes: DiskBytes);
        CrashRun run = new(row, _folder, Seeds.FromEnvironment()) { CrashesPerFlush = 3 };
        int blocks = ImageAudit.RefcountBlocks(run.File.Content);
        await run.GrowAsync(0, DiskBytes, 32 * 1024);

        Assert.True(ImageAudit.RefcountBlocks(run.File.Content) > blocks + 5);
        await run.GiveUpAsync();
    }

    // 64 blocks of 64 refcounts count 2 MiB; more need a longer table, which has to move.
    [Fact]
    public async Task A_crash_while_the_refcount_table_of_a_qcow2_image_moves_leaves_leaks_at_most()
    {
        Qemu.SkipWhenMissing();
        CrashRun run = new(CrashRows.MovingTable, _folder, Seeds.FromEnvironment());
        long clusters = ImageAudit.RefcountTableClusters(run.File.Content);
        await run.MoveRefcountTableAsync();

        Assert.True(ImageAudit.RefcountTableClusters(run.File.Content) > clusters);
        await run.GiveUpAsync();
    }
}
