// SPDX-License-Identifier: MIT
using Fleece.Backups.Jobs;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Hosting.Client;
using Fleece.Hosting.Control;
using Fleece.Hosting.Rpc;
using Fleece.Hosting.Tests.Host;

namespace Fleece.Hosting.Tests.Client;

/// <summary>Jobs of several disks of a real host, at one instant.</summary>
public sealed class InstantTests : IAsyncDisposable
{
    private readonly HostRig _rig = new();
    private HostOwner? _owner;

    private HostOwner Owner => _owner ??= new HostOwner(new HostAddress(_rig.SocketPath, RpcLibrary.Load, WireJson.Options));

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Backups_of_two_disks_show_one_instant_and_each_bitmap_counts_from_its_own()
    {
        await MountAsync("a", "b");

        await using JobsAtOneInstant jobs = await StartAsync("a", "b");
        await _rig.Mounted.Find("b").Device.WriteAsync(0, new byte[4096], cancellationToken: Token);
        Backup[] backups = [await CompleteAsync(jobs.Jobs[0]!), await CompleteAsync(jobs.Jobs[1]!)];

        Assert.Equal(backups[0].Point!.Instant, backups[1].Point!.Instant);
        Assert.Empty(_rig.Mounted.Sessions);
        Assert.All(["a", "b"], name =>
        {
            BitmapInfo bitmap = new(Assert.Single(_rig.Mounted.Find(name).Bitmaps.All));
            Assert.Equal(name == "b" ? 65536 : 0, bitmap.DirtyBytes);
        });
    }

    [Fact]
    public async Task A_disk_whose_repository_is_in_use_is_left_out_and_the_other_goes_on()
    {
        await MountAsync("a", "b");
        await using JobsAtOneInstant holding = await StartAsync("a");

        await using JobsAtOneInstant jobs = await StartAsync("a", "b");

        Assert.Null(jobs.Jobs[0]);
        Assert.Equal(Backups.BackupErrors.RepositoryBusy, jobs.Failures[0]!.Kind);
        Assert.Null(jobs.Failures[1]);
        _ = await CompleteAsync(jobs.Jobs[1]!);
    }

    [Fact]
    public async Task Sessions_end_without_success_when_the_jobs_are_given_up()
    {
        await MountAsync("a", "b");
        await using (JobsAtOneInstant jobs = await StartAsync("a", "b"))
        {
            await jobs.Jobs[0]!.BeginCopyAsync(Token);
            await jobs.Jobs[1]!.BeginCopyAsync(Token);
            Assert.Equal(2, _rig.Mounted.Sessions.Count);
            Assert.Equal(_rig.Mounted.Sessions[0].StartedAt, _rig.Mounted.Sessions[1].StartedAt);
        }

        Assert.Empty(_rig.Mounted.Sessions);
        Assert.All(["a", "b"], name => Assert.Null(Assert.Single(_rig.Mounted.Find(name).Bitmaps.All).BaselineId));
    }

    [Fact]
    public async Task A_disk_that_is_named_twice_has_no_session()
    {
        await MountAsync("a");

        BlockException refused = await Assert.ThrowsAsync<BlockException>(async () => await (await Owner
            .FindFleeceablesAsync([new DiskReference("a"), new DiskReference("A")], Token))
            .BeginSessionsAsync([new SessionOptions { Name = "one" }, new SessionOptions { Name = "two" }], Token));

        Assert.Equal(BlockErrors.InvalidArgument, refused.Kind);
        Assert.Empty(_rig.Mounted.Sessions);
    }

    public async ValueTask DisposeAsync()
    {
        if (_owner is not null)
        {
            await _owner.DisposeAsync();
        }

        await _rig.DisposeAsync();
    }

    private async Task MountAsync(params string[] names)
    {
        await _rig.StartAsync();
        foreach (string name in names)
        {
            await Owner.Disks.MountAsync(new MountRequest { Address = await _rig.AddImageAsync(name) }, Token);
        }
    }

    private ValueTask<JobsAtOneInstant> StartAsync(params string[] names) => JobsAtOneInstant.StartAsync(
        [.. names.Select(name => new BackupJobOptions { RepositoryPath = _rig.Folder.File($"backups-{name}") })],
        left => Owner.FindFleeceablesAsync([.. left.Select(index => new DiskReference(names[index]))], Token),
        Token);

    private static async Task<Backup> CompleteAsync(BackupJob job)
    {
        await job.BeginCopyAsync(Token);
        while (await job.StepAsync(Token))
        {
        }

        return await job.CompleteAsync(Token);
    }
}
