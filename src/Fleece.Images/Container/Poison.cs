// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Container;

/// <summary>Remembers the first failure after which an image must not be changed any more (rule R7).</summary>
/// <remarks>Reads go on: the mappings in memory are right, only the disk may lag behind them.
/// <para>Threading. Any thread.</para></remarks>
/// <param name="stopped">Makes a format's error of the first failure: of its kind, with it as its cause.</param>
internal sealed class Poison(Func<BlockException, BlockException> stopped)
{
    private BlockException? _first;

    public bool IsSet => Volatile.Read(ref _first) is not null;

    /// <summary>Remembers a failure, unless there was one before.</summary>
    public void Set(BlockException cause) => Interlocked.CompareExchange(ref _first, cause, null);

    /// <exception cref="BlockException">Of the first failure's kind, with that failure as its cause.</exception>
    public void ThrowIfSet()
    {
        if (Volatile.Read(ref _first) is { } cause)
        {
            throw stopped(cause);
        }
    }

    /// <summary>Remembers a failure of any sort: metadata that was captured and not written is missing on the disk, whatever the
    /// reason.</summary>
    public void Set(Exception cause) => Set(
        cause as BlockException ?? new BlockException(BlockErrors.IoFailed, $"Writing metadata ended with: {cause.Message}", cause: cause));

    /// <summary>Runs a step of writing metadata; its failure is the one that is remembered.</summary>
    public void Guard(Action step)
    {
        try
        {
            step();
        }
        catch (Exception failure)
        {
            Set(failure);
            throw;
        }
    }
}
