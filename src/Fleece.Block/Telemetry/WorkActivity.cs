// SPDX-License-Identifier: MIT
using System.Diagnostics;

namespace Fleece.Block.Telemetry;

/// <summary>An activity of work that is rare and goes on for a while, for those who trace; nothing where none does.</summary>
/// <remarks>It is no surrounding of what its caller does next, because its end may come on another thread or in another command. Threading.
/// One caller at a time.</remarks>
internal sealed class WorkActivity : IDisposable
{
    private readonly Activity? _activity;

    private WorkActivity(Activity? activity) => _activity = activity;

    /// <summary>Begins an activity.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="tags">Names and values that say which work it is.</param>
    public static WorkActivity Begin(string name, params ReadOnlySpan<(string Name, string? Value)> tags)
    {
        Activity? surrounding = Activity.Current;
        Activity? activity = FleeceMeter.Activities.StartActivity(name);
        Activity.Current = surrounding;
        foreach ((string tag, string? value) in tags)
        {
            activity?.SetTag(tag, value);
        }

        // Until it succeeds.
        activity?.SetStatus(ActivityStatusCode.Error);
        return new WorkActivity(activity);
    }

    /// <summary>The work has done what it was to do.</summary>
    public void Succeed() => _activity?.SetStatus(ActivityStatusCode.Ok);

    /// <summary>Ends the activity. Idempotent.</summary>
    public void Dispose()
    {
        Activity? surrounding = Activity.Current;
        _activity?.Dispose();
        Activity.Current = surrounding;
    }
}
