// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Resuming.Tests.Judging;
using Fleece.Resuming.Tests.Load;
using Fleece.Resuming.Tests.Serving;
using Fleece.Resuming.Tests.Truth;
using Fleece.Resuming.Tests.Worlds;
using Fleece.TestKit;

namespace Fleece.Resuming.Tests;

/// <summary>Kills the host of a world again and again, and judges what comes back.</summary>
internal sealed class KillRun(World world)
{
    private const int OrderlyPercent = 10;

    private readonly Seeds _seeds = world.Seeds;
    private string _killAt = string.Empty;

    /// <summary>Called with the world while its host is down, to plant a fault that must be found.</summary>
    public Action? WhileDown { get; init; }

    /// <summary>Kills so often.</summary>
    /// <exception cref="Finding">What the host did wrong, with all that is known about it.</exception>
    public async Task RunAsync(int kills)
    {
        int kill = 0;
        try
        {
            for (; kill < kills; kill++)
            {
                await LoadAsync();
                WhileDown?.Invoke();
                do
                {
                    await ComeBackAsync();
                }
                while (!await TryJudgeAsync($"after kill {kill}"));
            }
        }
        catch (Exception e) when (e is Finding or BlockException or TimeoutException)
        {
            throw new Finding($"FLEECE_SEED={_seeds.Seed}, kill {kill}: {e.Message}\n{world.Tell()}\n{(e is Finding ? "" : e)}");
        }
    }

    private async Task LoadAsync()
    {
        using CancellationTokenSource over = new();
        List<Task> running = [];
        List<NbdNode> nodes = [];
        foreach (WorldDisk disk in world.Disks)
        {
            NbdNode node;
            try
            {
                node = await disk.ConnectAsync(connections: 1 + _seeds.Next(3));
            }
            catch (BlockException e) when (_killAt.Length != 0 && Losses.IsLoss(e))
            {
                running.Add(Task.CompletedTask); // The host has killed itself.
                continue;
            }

            nodes.Add(node);
            for (int i = 0; i < WorldDisk.GuestRequests - 1; i++)
            {
                Guest guest = new(world, disk, node, _seeds.Fork());
                running.Add(Task.Run(() => guest.RunAsync(over.Token)));
            }
        }

        List<Consumer> consumers = [.. world.Disks.Select(disk => new Consumer(world, disk, _seeds.Fork()))];
        running.AddRange(consumers.Select(consumer => Task.Run(() => consumer.RunAsync(over.Token))));
        Operator operators = new(world, _seeds.Fork());
        running.Add(Task.Run(() => operators.RunAsync(over.Token)));
        if (world.Options.FullFolder is { } fullFolder)
        {
            Filler filler = new(fullFolder, _seeds.Fork());
            running.Add(Task.Run(() => filler.RunAsync(over.Token)));
        }

        int loadMilliseconds = 20 + _seeds.Next(_seeds.Pick(100, 700));
        bool isOrderly = _seeds.Chance(OrderlyPercent);
        await Task.WhenAny(Task.Delay(loadMilliseconds), Task.WhenAny(running));
        if (isOrderly)
        {
            // Requests in flight are answered first: an orderly end loses none that it has taken.
            await over.CancelAsync();
            await Task.WhenAll(running);
            world.Note("ends in order");
        }

        if (!isOrderly || !await world.Child.StopAsync())
        {
            await EndHostAsync(hasLost: running.Any(task => task.IsCompleted));
        }

        await over.CancelAsync();
        await Task.WhenAll(running);
        foreach (NbdNode node in nodes)
        {
            await node.DisposeAsync();
        }

        foreach (Consumer consumer in consumers)
        {
            await consumer.DisposeAsync();
        }
    }

    private async Task EndHostAsync(bool hasLost)
    {
        // One that kills itself has lost its connections a moment before it has ended.
        if (_killAt.Length != 0 && hasLost)
        {
            await Task.WhenAny(world.Child.Ended, Task.Delay(TimeSpan.FromSeconds(2)));
        }

        bool isAtStep = world.Child.HasEnded;
        string errors = await world.Child.KillAsync();
        KillPoints.Note(_killAt, isAtStep);
        world.Note($"killed {(isAtStep ? $"at {_killAt}" : "at random")} {errors}");
        if (isAtStep && _killAt.Length == 0)
        {
            throw new Finding($"the host has ended by itself: {errors}");
        }
    }

    private async Task ComeBackAsync()
    {
        while (true)
        {
            _killAt = KillPoints.Pick(_seeds);
            world.Note($"starts, armed with '{_killAt}'");
            if (await world.TryStartAsync(_killAt))
            {
                return;
            }

            await EndHostAsync(hasLost: true);
        }
    }

    // False when the host has killed itself meanwhile, at a step that answers to the judge lead to.
    private async Task<bool> TryJudgeAsync(string when)
    {
        try
        {
            await JudgeAsync(when);
            return true;
        }
        catch (BlockException e) when (_killAt.Length != 0 && (Losses.IsLoss(e) || ControlClient.IsLoss(e)))
        {
            await Task.WhenAny(world.Child.Ended, Task.Delay(TimeSpan.FromSeconds(5)));
            if (!world.Child.HasEnded)
            {
                throw;
            }

            await EndHostAsync(hasLost: true);
            return false;
        }
    }

    private async Task JudgeAsync(string when)
    {
        foreach (WorldDisk disk in world.Disks)
        {
            await DiskJudge.JudgeAsync(disk, when);
        }

        await SessionJudge.JudgeListAsync(world, when);
        await SessionJudge.JudgeSnapshotsAsync(world, when);
        foreach (WorldDisk disk in world.Disks)
        {
            await BitmapJudge.JudgeAsync(world, disk, when);
        }

        LitterJudge.Judge(world, when);
    }
}
