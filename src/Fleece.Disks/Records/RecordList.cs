// SPDX-License-Identifier: MIT
using System.Collections.ObjectModel;

namespace Fleece.Disks.Records;

/// <summary>A list in a record: equal to one of equal items in the same order, so that equal records are equal.</summary>
/// <param name="items">The items, which are copied.</param>
internal sealed class RecordList<T>(IEnumerable<T> items) : ReadOnlyCollection<T>([.. items])
{
    public override bool Equals(object? obj) => obj is RecordList<T> other && Items.SequenceEqual(other.Items);

    public override int GetHashCode() => Items.Aggregate(Count, HashCode.Combine);
}
