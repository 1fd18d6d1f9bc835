// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>Remembers the first broken invariant that a request of a device met, after which it takes no more requests (rule R7).</summary>
/// <param name="name">What messages call the device.</param>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal sealed class DevicePoison(string name)
{
    private BlockException? _defect;

    /// <summary>Hears of it once, on the thread of the request.</summary>
    public Action<BlockException>? Found { get; set; }

    /// <exception cref="BlockException"><see cref="BlockErrors.InvariantBroken"/></exception>
    public void ThrowIfSet()
    {
        if (Volatile.Read(ref _defect) is { } defect)
        {
            throw new BlockException(
                defect.Kind,
                $"'{name}' takes no requests any more. {defect.Message}",
                name,
                defect.OffsetBytes,
                defect.Operation,
                defect);
        }
    }

    /// <summary>Looks at the error of a request. As a filter of exceptions it costs other requests nothing, and holds none up.</summary>
    /// <returns>False.</returns>
    public bool IsDefect(Exception error)
    {
        if (error is BlockException { Kind: BlockErrors.InvariantBroken } defect &&
            Interlocked.CompareExchange(ref _defect, defect, null) is null)
        {
            Found?.Invoke(defect);
        }

        return false;
    }
}
