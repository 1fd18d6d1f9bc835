// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Fleece.Interleavings;

/// <summary>Decides who runs next.</summary>
internal interface ISchedulingStrategy
{
    /// <summary>Picks one of the enabled threads.</summary>
    /// <param name="enabled">Whoever can go on, the thread that ran last at the head when it can.</param>
    /// <param name="isForced">The thread that ran last can't go on, so no choice here is a preemption.</param>
    LogicalThread Choose(IReadOnlyList<LogicalThread> enabled, bool isForced);
}

/// <summary>Every schedule with at most so many preemptions, one after the other.</summary>
/// <remarks>
/// Most faults of real programs show with two preemptions (Musuvathi and Qadeer, 2007); the bound is what keeps the
/// number of schedules polynomial in the length of the scenario.
/// </remarks>
internal sealed class DepthFirst(int maximumPreemptions) : ISchedulingStrategy
{
    private readonly List<(int Chosen, int Count)> _path = [];
    private int _depth;
    private int _preemptions;

    public LogicalThread Choose(IReadOnlyList<LogicalThread> enabled, bool isForced)
    {
        int count = isForced || _preemptions < maximumPreemptions ? enabled.Count : 1;
        if (count == 1)
        {
            return enabled[0];
        }

        if (_depth == _path.Count)
        {
            _path.Add((0, count));
        }

        (int chosen, int seen) = _path[_depth];
        Assert.True(seen == count, "a scenario takes the same course whenever it gets the same schedule");
        _depth++;
        _preemptions += isForced || chosen == 0 ? 0 : 1;
        return enabled[chosen];
    }

    /// <summary>Prepares the next schedule; false when all were seen.</summary>
    public bool MoveNext()
    {
        _depth = 0;
        _preemptions = 0;
        while (_path.Count > 0 && _path[^1].Chosen + 1 == _path[^1].Count)
        {
            _path.RemoveAt(_path.Count - 1);
        }

        if (_path.Count == 0)
        {
            return false;
        }

        _path[^1] = (_path[^1].Chosen + 1, _path[^1].Count);
        return true;
    }
}

/// <summary>
/// Random priorities with a few random changes (PCT: Burckhardt and others, 2010), for long scenarios.
/// </summary>
internal sealed class RandomPriorities : ISchedulingStrategy
{
    private readonly Random _random;
    private readonly Dictionary<int, int> _priorities = [];
    private readonly HashSet<int> _changes = [];
    private int _step;
    private int _lowest;

    public RandomPriorities(int seed, int changes, int expectedSteps)
    {
        _random = new Random(seed);
        for (int i = 0; i < changes; i++)
        {
            _changes.Add(_random.Next(expectedSteps));
        }
    }

    public LogicalThread Choose(IReadOnlyList<LogicalThread> enabled, bool isForced)
    {
        LogicalThread best = enabled.MaxBy(Priority)!;
        if (_changes.Contains(_step++))
        {
            _priorities[best.Index] = --_lowest;
            best = enabled.MaxBy(Priority)!;
        }

        return best;
    }

    private int Priority(LogicalThread thread)
    {
        if (!_priorities.TryGetValue(thread.Index, out int priority))
        {
            priority = _random.Next(1, int.MaxValue);
            _priorities.Add(thread.Index, priority);
        }

        return priority;
    }
}

/// <summary>Follows a printed schedule; behind its end nobody is preempted.</summary>
internal sealed class Replay : ISchedulingStrategy
{
    private readonly Queue<char> _letters = new();

    public Replay(string schedule)
    {
        for (int i = 0; i < schedule.Length;)
        {
            char letter = schedule[i++];
            int start = i;
            while (i < schedule.Length && char.IsAsciiDigit(schedule[i]))
            {
                i++;
            }

            for (int n = int.Parse(schedule.AsSpan(start, i - start), CultureInfo.InvariantCulture); n > 0; n--)
            {
                _letters.Enqueue(letter);
            }
        }
    }

    public LogicalThread Choose(IReadOnlyList<LogicalThread> enabled, bool isForced)
    {
        if (!_letters.TryDequeue(out char letter))
        {
            return enabled[0];
        }

        return enabled.FirstOrDefault(t => t.Letter == letter) ??
            throw new InvalidOperationException($"The schedule runs {letter} where it can't go on: another scenario?");
    }
}
