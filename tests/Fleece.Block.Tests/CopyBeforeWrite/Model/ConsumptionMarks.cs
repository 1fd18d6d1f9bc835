// SPDX-License-Identifier: MIT
namespace Fleece.Block.Tests.CopyBeforeWrite.Model;

/// <summary>Which granules readers have begun to consume, and which they know to be consumed, as plain arrays.</summary>
/// <remarks>Null stands for a reader that is not counted, whose discards are for all. Threading. Any thread; marks are only set.</remarks>
internal sealed class ConsumptionMarks(int granules, int consumers)
{
    private readonly bool[][] _begun = Make(granules, consumers + 1);
    private readonly bool[][] _ended = Make(granules, consumers + 1);

    public void Begin(int? consumer, long granule) => Volatile.Write(ref _begun[consumer ?? consumers][granule], true);

    public void End(int? consumer, long granule) => Volatile.Write(ref _ended[consumer ?? consumers][granule], true);

    /// <summary>True when the reader may be refused the granule.</summary>
    public bool MayBeRefused(int? consumer, long granule) => IsRefused(_begun, consumer, granule);

    /// <summary>True when the reader must be refused the granule.</summary>
    public bool MustBeRefused(int? consumer, long granule) => IsRefused(_ended, consumer, granule);

    private bool IsRefused(bool[][] marks, int? consumer, long granule) =>
        Volatile.Read(ref marks[consumers][granule]) ||
        (consumer is { } one && Volatile.Read(ref marks[one][granule])) ||
        (consumers != 0 && Enumerable.Range(0, consumers).All(each => Volatile.Read(ref marks[each][granule])));

    private static bool[][] Make(int granules, int rows) => [.. Enumerable.Range(0, rows).Select(_ => new bool[granules])];
}
