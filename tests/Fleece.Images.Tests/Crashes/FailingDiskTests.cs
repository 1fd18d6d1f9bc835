// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Crashes;

/// <summary>A disk that fails leaves leaks at most, in every format, and the requests that fail say so.</summary>
public sealed class FailingDiskTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public static TheoryData<string> Rows => CrashRows.Names;

    public void Dispose() => _folder.Dispose();

    // Method: the same requests, on a file whose every change from the n-th on fails; each of the first changes is such an n, and some of
    // the others.
    [Theory]
    [MemberData(nameof(Rows))]
    public async Task A_disk_failing_from_any_change_on_leaves_leaks_at_most(string name)
    {
        CrashRow row = CrashRows.Find(name);
        Seeds seeds = Seeds.FromEnvironment();
        CrashImage image = row.Make(_folder, seeds);
        (int changes, _) = await RunAsync(row, image, seeds.Seed, int.MaxValue);
        for (int failFrom = 0; failFrom < changes; failFrom += failFrom < 30 ? row.FailureStep : Math.Max(1, changes / 12))
        {
            (_, bool hasFailed) = await RunAsync(row, image, seeds.Seed, failFrom);
            Assert.True(hasFailed, $"Change {failFrom} has failed and no request has; seed {seeds.Seed}");
        }
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public async Task The_first_failed_flush_stops_all_later_changes_and_no_reads(string name)
    {
        CrashRow row = CrashRows.Find(name);
        CrashRun run = new(row, _folder, Seeds.FromEnvironment()) { CrashesPerFlush = 0 };
        byte[] expected = CrashImage.Read(run.Node)[..4];
        new byte[] { 1, 2, 3 }.CopyTo(expected, 0);
        await run.WriteAsync(0, [1, 2, 3]);
        run.File.FailFrom = run.File.ChangeCount;
        await Images.FailsAsync(BlockErrors.IoFailed, () => run.FlushAsync().AsTask());
        run.File.FailFrom = int.MaxValue;
        int changes = run.File.ChangeCount;

        BlockException later = await Images.FailsAsync(BlockErrors.IoFailed, () => run.WriteAsync(0, new byte[1]).AsTask());
        Assert.Contains("takes no more changes", later.Message, StringComparison.Ordinal);
        await Images.FailsAsync(BlockErrors.IoFailed, () => run.FlushAsync().AsTask());
        await Images.FailsAsync(
            BlockErrors.IoFailed, () => run.Node.DiscardAsync(0, row.BlockBytes, CancellationToken.None).AsTask());
        byte[] read = new byte[4];
        await run.Node.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal(expected, read);
        await run.Node.DisposeAsync();
        Assert.Equal(changes, run.File.ChangeCount);
    }

    // Such as no memory: the changes were taken as captured, and the disk lacks them.
    [Theory]
    [MemberData(nameof(Rows))]
    public async Task A_write_back_that_ends_with_an_exception_of_any_sort_stops_all_later_changes(string name)
    {
        CrashRow row = CrashRows.Find(name);
        CrashRun run = new(row, _folder, Seeds.FromEnvironment()) { CrashesPerFlush = 0 };
        await run.WriteAsync(0, [1, 2, 3]);
        Action? beforeFlush = run.File.BeforeFlush;
        run.File.BeforeFlush = () => throw new InvalidOperationException("Planted.");
        await Assert.ThrowsAsync<InvalidOperationException>(() => run.Node.FlushAsync(CancellationToken.None).AsTask());
        run.File.BeforeFlush = beforeFlush;

        BlockException later =
            await Images.FailsAsync(BlockErrors.IoFailed, () => run.Node.FlushAsync(CancellationToken.None).AsTask());
        Assert.Contains("takes no more changes", later.Message, StringComparison.Ordinal);
        await run.Node.DisposeAsync();
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public async Task A_failed_write_of_guest_data_is_only_that_requests_failure(string name)
    {
        CrashRow row = CrashRows.Find(name);
        CrashRun run = new(row, _folder, Seeds.FromEnvironment()) { CrashesPerFlush = 0 };
        await run.WriteAsync(0, new byte[512]);
        run.File.FailFrom = run.File.ChangeCount;
        await Images.FailsAsync(BlockErrors.IoFailed, () => run.WriteAsync(0, new byte[1]).AsTask());
        run.File.FailFrom = int.MaxValue;

        await run.WriteAsync(0, [9]);
        await run.FlushAsync();
        await run.CloseAsync();
    }

    // VHD grows for each block here, so the growth fails too.
    [Theory]
    [MemberData(nameof(Rows))]
    public async Task A_full_file_system_fails_the_write_and_nothing_else(string name)
    {
        CrashRow row = CrashRows.Find(name);
        row = row with { Make = (folder, seeds) => CrashRows.Find(name).Make(folder, seeds) with { GrowthBytes = 0 } };
        CrashRun run = new(row, _folder, Seeds.FromEnvironment()) { CrashesPerFlush = 0 };
        await run.WriteAsync(0, [1]);
        run.File.FailFrom = run.File.ChangeCount;
        await Images.FailsAsync(
            BlockErrors.IoFailed,
            () => run.Node.WriteAsync(row.BlockBytes, new byte[1], WriteFlags.None, CancellationToken.None).AsTask());
        run.File.FailFrom = int.MaxValue;

        await run.WriteAsync(row.BlockBytes, [9]);
        await run.CloseAsync();
        run.Judge.CheckClosed(run.File.Content, run.Context);
    }

    // The changes of the file, and whether any request has failed.
    private async ValueTask<(int Changes, bool HasFailed)> RunAsync(CrashRow row, CrashImage image, ulong seed, int failFrom)
    {
        CrashRun run = new(row, image, _folder, new Seeds(seed)) { CrashesPerFlush = 0 };
        run.File.FailFrom = failFrom;
        byte[] read = new byte[image.Content.Length];
        bool hasFailed = false;
        for (int request = 0; request < row.Requests / 2; request++)
        {
            hasFailed |= await FailsAsync(run.RequestAsync);
            if (request % 6 == 5)
            {
                hasFailed |= await FailsAsync(run.FlushAsync);
            }

            _ = CrashImage.Read(run.Node, read);
        }

        hasFailed |= await FailsAsync(run.Node.DisposeAsync);
        string context = $"failing from change {failFrom}, {run.Context}";
        run.Judge.Check(run.File.Content, run.History, context);
        run.Judge.CheckOpening(run.File.Content, run.History, context);
        if (failFrom % 20 == 0)
        {
            run.Judge.CheckByPeer(run.File.Content, context);
        }

        return (run.File.ChangeCount, hasFailed);
    }

    private static async ValueTask<bool> FailsAsync(Func<ValueTask> request)
    {
        try
        {
            await request();
            return false;
        }
        catch (BlockException failure)
        {
            Assert.Equal(BlockErrors.IoFailed, failure.Kind);
            return true;
        }
    }
}
