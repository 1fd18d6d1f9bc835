// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;

namespace Fleece.Backups.Jobs;

/// <summary>Jobs of several disks, each with a repository of its own, whose backups show one instant.</summary>
/// <remarks>
/// <para>All bitmaps are chosen first, then all sessions begin at one instant. A disk whose job can't be prepared is left out of it, and
/// the others go on. The copies are the caller's to run, one after the other: <see cref="BackupJob.BeginCopyAsync"/> and what follows.
/// </para>
/// <para>Threading. One caller at a time. Ownership. It owns the jobs until it is disposed.</para>
/// </remarks>
internal sealed class JobsAtOneInstant : IAsyncDisposable
{
    private readonly BackupJob?[] _jobs;
    private readonly BlockException?[] _failures;

    private JobsAtOneInstant(int count)
    {
        _jobs = new BackupJob?[count];
        _failures = new BlockException?[count];
    }

    /// <summary>The jobs, in the order of the disks; null for one that could not be prepared.</summary>
    public IReadOnlyList<BackupJob?> Jobs => _jobs;

    /// <summary>Why jobs could not be prepared, in the same order.</summary>
    public IReadOnlyList<BlockException?> Failures => _failures;

    /// <summary>Prepares the jobs and pins the instant.</summary>
    /// <param name="options">One for each disk.</param>
    /// <param name="find">The set of the disks of these numbers: all at first, and those that are left when some could not be prepared.
    /// </param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException">Why the disks can't be found, or their sessions not begun. Nothing is left behind.</exception>
    public static async ValueTask<JobsAtOneInstant> StartAsync(
        IReadOnlyList<BackupJobOptions> options,
        Func<IReadOnlyList<int>, ValueTask<IFleeceableSet>> find,
        CancellationToken cancellationToken)
    {
        JobsAtOneInstant started = new(options.Count);
        try
        {
            int[] all = [.. Enumerable.Range(0, options.Count)];
            IFleeceableSet disks = await find(all).ConfigureAwait(false);
            await started.PrepareAsync(disks, options, cancellationToken).ConfigureAwait(false);
            int[] left = [.. all.Where(index => started._jobs[index] is not null)];
            if (left.Length == 0)
            {
                return started;
            }

            BackupJob[] jobs = [.. left.Select(index => started._jobs[index]!)];
            disks = left.Length == all.Length ? disks : await find(left).ConfigureAwait(false);
            IReadOnlyList<IFleeceSession> sessions = await disks
                .BeginSessionsAsync([.. jobs.Select(job => job.SessionOptions)], cancellationToken).ConfigureAwait(false);
            for (int index = 0; index < jobs.Length; index++)
            {
                jobs[index].Pin(sessions[index]);
            }

            return started;
        }
        catch
        {
            await started.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Ends each job as <see cref="BackupJob.DisposeAsync"/> does; those that were disposed before stay as they are.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (BackupJob? job in _jobs)
        {
            if (job is not null)
            {
                await job.DisposeAsync().ConfigureAwait(false);
            }
        }
    }

    private async ValueTask PrepareAsync(
        IFleeceableSet disks, IReadOnlyList<BackupJobOptions> options, CancellationToken cancellationToken)
    {
        for (int index = 0; index < options.Count; index++)
        {
            try
            {
                _jobs[index] = await BackupJob.PrepareAsync(disks.Disks[index], options[index], cancellationToken).ConfigureAwait(false);
            }
            catch (BlockException e)
            {
                _failures[index] = e;
            }
        }
    }
}
