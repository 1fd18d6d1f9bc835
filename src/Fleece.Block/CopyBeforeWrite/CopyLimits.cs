// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>What a copy may cost before it counts as failed, and the policy decides who loses.</summary>
internal sealed record CopyLimits
{
    /// <summary>The default of <see cref="TempWarningPercent"/>.</summary>
    public const int DefaultTempWarningPercent = 80;

    /// <summary>Timers count whole milliseconds.</summary>
    public static readonly TimeSpan ShortestGuestDelay = TimeSpan.FromMilliseconds(1);

    /// <summary>A guest takes a disk that does not answer for half a minute for a failed one.</summary>
    public static readonly TimeSpan LongestGuestDelay = TimeSpan.FromSeconds(10);

    /// <summary>Longest time a guest's write waits for its old data to be copied, more than zero; null waits as long as it takes.</summary>
    public TimeSpan? Timeout { get; init; }

    /// <summary>Most bytes of old data kept in temp at a time, at least one granule; null for no limit.</summary>
    public long? TempBytes { get; init; }

    /// <summary>How much of <see cref="TempBytes"/> is taken when the session warns, 1 to 99 %; null for
    /// <see cref="DefaultTempWarningPercent"/>.</summary>
    public int? TempWarningPercent { get; init; }

    /// <summary>The percentage of <see cref="TempBytes"/> at which the session warns; null without a limit.</summary>
    public int? WarnsAtPercent => TempBytes is null ? null : TempWarningPercent ?? DefaultTempWarningPercent;

    /// <summary>Longest time for which one guest's write is held back while temp fills from the warning's mark to its limit,
    /// <see cref="ShortestGuestDelay"/> to <see cref="LongestGuestDelay"/>; null for no delay.</summary>
    public TimeSpan? MaxGuestDelay { get; init; }

    /// <summary>How long a copy may wait for its old data before snapshot reads wait for the copy; infinite for ever.</summary>
    public TimeSpan ReaderPatience { get; init; } = TimeSpan.FromMicroseconds(500);

    /// <summary>Where the time comes from.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    internal void Check(int granuleSizeBytes)
    {
        if (Timeout <= TimeSpan.Zero)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The time limit for copies is {Timeout}; it must be more than zero. Leave it out for none.");
        }

        if (TempBytes < granuleSizeBytes)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The limit for temp is {TempBytes} bytes, in which not one granule of {granuleSizeBytes} bytes fits. Leave it out for " +
                "none.");
        }

        if (TempBytes is null && (TempWarningPercent is not null || MaxGuestDelay is not null))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                "A mark at which temp warns, and a delay of guest writes as it fills, count from the limit for temp, and there is none. " +
                "Give -TempLimitBytes, or leave -TempWarningPercent and -MaxGuestDelay out.");
        }

        if (TempWarningPercent is < 1 or > 99)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument, $"The mark at which temp warns is {TempWarningPercent} %; it must be 1 to 99 %.");
        }

        if (MaxGuestDelay < ShortestGuestDelay || MaxGuestDelay > LongestGuestDelay)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The longest delay of a guest's write is {MaxGuestDelay}; it must be {ShortestGuestDelay.TotalMilliseconds:0} ms to " +
                $"{LongestGuestDelay.TotalSeconds:0} s. Leave it out for none.");
        }
    }
}

/// <summary>Says that a session's temp will soon hold as much as it may.</summary>
internal sealed class TempLimitNearEventArgs(long usedBytes, long limitBytes) : EventArgs
{
    /// <summary>Old data in temp, in bytes, with the copies that are on their way there.</summary>
    public long UsedBytes { get; } = usedBytes;

    /// <summary>The limit in bytes.</summary>
    public long LimitBytes { get; } = limitBytes;
}
