// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Vhd;

/// <summary>Remembers the first failure after which an image must not be changed any more (rule R7).</summary>
/// <remarks>Reads go on: the table and bitmaps in memory are right, only the disk may lag behind them.
/// <para>Threading. Any thread.</para></remarks>
internal sealed class VhdPoison(string path)
{
    private BlockException? _first;

    public bool IsSet => Volatile.Read(ref _first) is not null;

    /// <exception cref="BlockException">Of the first failure's kind, with that failure as its cause.</exception>
    public void ThrowIfSet()
    {
        if (Volatile.Read(ref _first) is { } cause)
        {
            throw VhdFault.Stopped(path, cause);
        }
    }

    /// <summary>Runs a step of writing metadata; its failure is the one that is remembered.</summary>
    public void Guard(Action step)
    {
        try
        {
            step();
        }
        catch (BlockException failure)
        {
            Interlocked.CompareExchange(ref _first, failure, null);
            throw;
        }
    }
}
