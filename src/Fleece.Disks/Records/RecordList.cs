// SPDX-License-Identifier: MIT
using System.Collections.ObjectModel;

namespace Fleece.Disks.Records;

/// <summary>A list in a record: equal to one of equal items in the same order, so that equal records are equal.</summary>
/// <param name="items">The items, which are copied.</param>
internal sealed class RecordList<T>(IEnumerable<T> items) : ReadOnlyCollection<T>([.. items])
{
    /// <summary>The list without items.</summary>
    public static new RecordList<T> Empty { get; } = new([]);

    /// <summary>The list itself, or a copy of one of another kind.</summary>
    public static RecordList<T> Of(IReadOnlyList<T> list) => list as RecordList<T> ?? new(list);

    public override bool Equals(object? obj) => obj is RecordList<T> other && Items.SequenceEqual(other.Items);

    public override int GetHashCode() => Items.Aggregate(Count, HashCode.Combine);
}
