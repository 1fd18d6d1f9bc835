// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Hosting.State;

namespace Fleece.Hosting.Host;

/// <summary>Disks that the host is to serve and does not: it tries each one again until it is served or dismounted.</summary>
/// <remarks>
/// <para>Each attempt has a thread of its own, so that storage which does not answer keeps no other disk down.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
/// <param name="serve">Mounts a disk with its listeners.</param>
/// <param name="say">Hears a line about each disk that fails, and that is served after it failed; <see cref="Problems"/> says the same.
/// </param>
/// <param name="time">The clock.</param>
internal sealed class UnservedDisks(
    Func<MountedDiskState, CancellationToken, ValueTask> serve, Action<string> say, TimeProvider time) : IDisposable
{
    /// <summary>Longest time between two attempts.</summary>
    public static readonly TimeSpan LongestDelay = TimeSpan.FromSeconds(60);

    /// <summary>An attempt that takes longer counts as failed until it ends.</summary>
    public static readonly TimeSpan SlowAttempt = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan FirstDelay = TimeSpan.FromSeconds(1);

    // Opening waits for storage more than for processors.
    private readonly SemaphoreSlim _slots = new(Math.Max(8, Environment.ProcessorCount * 2));
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Entry> _entries = new(StringComparer.OrdinalIgnoreCase);
    private bool _isEnding;

    /// <summary>The disks that have failed, each with the reason; whole sentences.</summary>
    public IReadOnlyList<string> Problems
    {
        get
        {
            lock (_lock)
            {
                IEnumerable<Entry> failed = _entries.Values.Where(entry => entry.Problem is not null);
                return [.. failed.OrderBy(entry => entry.Disk.Name, StringComparer.OrdinalIgnoreCase).Select(entry => entry.ToString())];
            }
        }
    }

    /// <summary>The disks that have neither been served nor failed yet, by name.</summary>
    public IReadOnlyList<string> Untried
    {
        get
        {
            lock (_lock)
            {
                IEnumerable<Entry> untried = _entries.Values.Where(entry => entry.Problem is null);
                return [.. untried.Select(entry => entry.Disk.Name).Order(StringComparer.OrdinalIgnoreCase)];
            }
        }
    }

    /// <summary>Begins to serve disks.</summary>
    /// <returns>Completes when each one is served or has failed once; never fails.</returns>
    public Task Add(IEnumerable<MountedDiskState> disks)
    {
        lock (_lock)
        {
            List<Task> tried = [];
            foreach (MountedDiskState disk in disks)
            {
                if (!_isEnding && !_entries.ContainsKey(disk.Name))
                {
                    Entry entry = new(disk);
                    _entries.Add(disk.Name, entry);
                    entry.Serving = ServeAsync(entry);
                    tried.Add(entry.Tried.Task);
                }
            }

            return Task.WhenAll(tried);
        }
    }

    /// <summary>A sentence about the disk of that name, if it is one of these; null if not.</summary>
    public string? Find(string name)
    {
        lock (_lock)
        {
            return _entries.TryGetValue(name, out Entry? entry) ? entry.ToString() : null;
        }
    }

    /// <summary>Gives a disk up, and waits for the end of an attempt that runs.</summary>
    public async ValueTask ForgetAsync(string name)
    {
        Entry? entry;
        lock (_lock)
        {
            if (!_entries.TryGetValue(name, out entry))
            {
                return;
            }
        }

        await entry.GivingUp.CancelAsync().ConfigureAwait(false);
        await entry.Serving.ConfigureAwait(false);
    }

    /// <summary>Gives all disks up. An attempt that storage keeps from ending is not waited for longer than the patience.</summary>
    public async ValueTask EndAsync(TimeSpan patience)
    {
        Entry[] entries;
        lock (_lock)
        {
            _isEnding = true;
            entries = [.. _entries.Values];
        }

        foreach (Entry entry in entries)
        {
            await entry.GivingUp.CancelAsync().ConfigureAwait(false);
        }

        await Task.WhenAny(Task.WhenAll(entries.Select(entry => entry.Serving)), Task.Delay(patience)).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose() => _slots.Dispose();

    private async Task ServeAsync(Entry entry)
    {
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        CancellationToken givingUp = entry.GivingUp.Token;
        bool isServed = false;
        try
        {
            for (TimeSpan delay = FirstDelay; !await TryAsync(entry, givingUp).ConfigureAwait(false);)
            {
                await Task.Delay(delay, time, givingUp).ConfigureAwait(false);
                delay = delay * 2 < LongestDelay ? delay * 2 : LongestDelay;
            }

            isServed = true;
        }
        catch (OperationCanceledException)
        {
            // Dismounted, or the host ends.
        }
        finally
        {
            lock (_lock)
            {
                _entries.Remove(entry.Disk.Name);
            }

            entry.Tried.TrySetResult();
        }

        if (isServed && entry.Problem is not null)
        {
            say($"serves disk {entry.Disk.Name} after all");
        }
    }

    private async Task<bool> TryAsync(Entry entry, CancellationToken givingUp)
    {
        string name = entry.Disk.Name;
        Task attempt;
        await _slots.WaitAsync(givingUp).ConfigureAwait(false);
        try
        {
            attempt = OwnThread.Start(() => serve(entry.Disk, givingUp).AsTask(), $"Fleece mounts {name}");
            using CancellationTokenSource waiting = CancellationTokenSource.CreateLinkedTokenSource(givingUp);
            Task slow = Task.Delay(SlowAttempt, time, waiting.Token);
            if (await Task.WhenAny(attempt, slow).ConfigureAwait(false) == slow && !givingUp.IsCancellationRequested)
            {
                Fail(entry, $"it has not been opened for {SlowAttempt.TotalSeconds:0} seconds, and the host still waits for its storage.");
            }

            await waiting.CancelAsync().ConfigureAwait(false);
        }
        finally
        {
            _slots.Release();
        }

        try
        {
            await attempt.ConfigureAwait(false);
        }
        catch (BlockException e)
        {
            Fail(entry, e.Message);
            return false;
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // A fault of the host's own must not keep the other disks down either.
            Fail(entry, $"{e.GetType().Name}: {e.Message}");
            return false;
        }

        return true;
    }

    // Said once for each reason: a disk that stays away for days must not fill the log.
    private void Fail(Entry entry, string reason)
    {
        bool isNew;
        lock (_lock)
        {
            isNew = entry.Problem != reason;
            entry.Problem = reason;
        }

        entry.Tried.TrySetResult();
        if (isNew)
        {
            say($"does not serve disk {entry.Disk.Name}: {reason}");
        }
    }

    private sealed class Entry(MountedDiskState disk)
    {
        public MountedDiskState Disk => disk;

        public string? Problem { get; set; }

        public CancellationTokenSource GivingUp { get; } = new();

        public TaskCompletionSource Tried { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Serving { get; set; } = Task.CompletedTask;

        public override string ToString() => Problem is null
            ? $"The host is about to serve the disk '{disk.Name}'."
            : $"The disk '{disk.Name}' ('{disk.Mount.Address}') is not served: {Problem} The host tries again.";
    }
}
