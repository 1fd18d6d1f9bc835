// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>What a copy may cost before it counts as failed, and the policy decides who loses.</summary>
internal sealed record CopyLimits
{
    /// <summary>Longest time a guest's write waits for its old data to be copied, more than zero; null waits as long as it takes.</summary>
    public TimeSpan? Timeout { get; init; }

    /// <summary>Most bytes of old data kept in temp at a time, at least one granule; null for no limit.</summary>
    public long? TempBytes { get; init; }

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
