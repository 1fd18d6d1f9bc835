// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;

namespace Fleece.Interleavings;

/// <summary>Runs a scenario under many schedules and reports the first that breaks a promise.</summary>
/// <remarks>
/// A failure prints the schedule. FLEECE_SCHEDULE set to it replays that schedule alone; FLEECE_PREEMPTIONS raises the
/// bound of every exhaustive search; FLEECE_SEED sets the first seed of random ones and FLEECE_SCHEDULES their number.
/// </remarks>
internal static class Explorer
{
    /// <summary>A search that needs more has the wrong bound for its scenario.</summary>
    private const int MaximumSchedules = 3_000_000;

    private const int WorkersPerSearch = 8;

    /// <summary>Every schedule of a scenario with at most so many preemptions.</summary>
    public static void Exhaust(int preemptions, Action<Scenario> build)
    {
        if (TryReplay(build))
        {
            return;
        }

        preemptions = Math.Max(preemptions, Setting("FLEECE_PREEMPTIONS", 0));
        DepthFirst strategy = new(preemptions);
        Search($"preemptions {preemptions}", build, MaximumSchedules, _ => strategy, strategy.MoveNext);
    }

    /// <summary>A number of seeded random schedules, for scenarios with too many threads to exhaust.</summary>
    public static void Sample(int schedules, int changes, Action<Scenario> build)
    {
        if (TryReplay(build))
        {
            return;
        }

        int seed = Setting("FLEECE_SEED", Random.Shared.Next(1_000_000_000));
        schedules = Math.Max(schedules, Setting("FLEECE_SCHEDULES", 0));
        int seen = 0;
        int expectedSteps = 100;
        Search(
            $"seed {seed}",
            build,
            schedules,
            last => new RandomPriorities(seed + seen, changes, expectedSteps = Math.Max(expectedSteps, last)),
            () => ++seen < schedules);
    }

    /// <summary>One schedule, as a failure printed it. Returns what it breaks, or null.</summary>
    public static Exception? Follow(string schedule, Action<Scenario> build)
    {
        using WorkerPool workers = new(WorkersPerSearch);
        using Execution execution = RunOnce(new Replay(schedule), workers, build);
        return execution.Failure;
    }

    private static bool TryReplay(Action<Scenario> build)
    {
        if (Environment.GetEnvironmentVariable("FLEECE_SCHEDULE") is not { Length: > 0 } schedule)
        {
            return false;
        }

        using WorkerPool workers = new(WorkersPerSearch);
        using Execution execution = RunOnce(new Replay(schedule), workers, build);
        Report(execution, "replay");
        return true;
    }

    private static void Search(
        string what,
        Action<Scenario> build,
        int limit,
        Func<int, ISchedulingStrategy> strategyAfter,
        Func<bool> moveNext)
    {
        using WorkerPool workers = new(WorkersPerSearch);
        Stopwatch watch = Stopwatch.StartNew();
        int schedules = 0;
        long steps = 0;
        int lastSteps = 0;
        do
        {
            Assert.True(schedules < limit, $"more than {limit} schedules with {what}; lower the bound or sample");
            using Execution execution = RunOnce(strategyAfter(lastSteps), workers, build);
            schedules++;
            lastSteps = execution.Steps;
            steps += lastSteps;
            Report(execution, $"schedule {schedules} of {what}");
        }
        while (moveNext());

        string line = $"{schedules} schedules, {steps} steps, {what}, {watch.ElapsedMilliseconds} ms";
        TestContext.Current.TestOutputHelper?.WriteLine(line);
        if (Environment.GetEnvironmentVariable("FLEECE_INTERLEAVINGS_REPORT") is { Length: > 0 } path)
        {
            File.AppendAllText(path, $"{TestContext.Current.TestMethod?.MethodName}: {line}\n");
        }
    }

    private static Execution RunOnce(ISchedulingStrategy strategy, WorkerPool workers, Action<Scenario> build)
    {
        Execution execution = new(strategy, workers);
        Scenario scenario = new(execution);
        build(scenario);
        execution.Run();
        if (execution.Failure is null)
        {
            try
            {
                scenario.CheckEnd();
            }
#pragma warning disable CA1031 // Whatever the last checks throw is the finding.
            catch (Exception e)
#pragma warning restore CA1031
            {
                execution.Fail(e);
            }
        }

        return execution;
    }

    private static void Report(Execution execution, string where)
    {
        if (execution.Failure is { } failure)
        {
            throw new InvalidOperationException(
                $"{failure.Message}\n{where}; replay with FLEECE_SCHEDULE={execution.Schedule()}\n{execution.Story()}",
                failure);
        }
    }

    private static int Setting(string name, int otherwise)
    {
        string? text = Environment.GetEnvironmentVariable(name);
        return string.IsNullOrEmpty(text) ? otherwise : int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);
    }
}
