// SPDX-License-Identifier: MIT
using System.Collections.ObjectModel;

namespace Fleece.Disks.Records;

/// <summary>Names with values in a record: equal to others of equal names and values, so that equal records are equal.</summary>
/// <param name="labels">The labels, which are copied.</param>
internal sealed class RecordLabels(IEnumerable<KeyValuePair<string, string>> labels)
    : ReadOnlyDictionary<string, string>(new Dictionary<string, string>(labels, StringComparer.Ordinal))
{
    /// <summary>No labels.</summary>
    public static new RecordLabels Empty { get; } = new([]);

    /// <summary>The labels themselves, or a copy of those of another kind.</summary>
    public static RecordLabels Of(IReadOnlyDictionary<string, string> labels) => labels as RecordLabels ?? new(labels);

    public override bool Equals(object? obj) => obj is RecordLabels other && other.Count == Count &&
        this.All(label => other.TryGetValue(label.Key, out string? value) && value == label.Value);

    public override int GetHashCode() => this.Aggregate(Count, (hash, label) => hash ^ HashCode.Combine(label.Key, label.Value));
}
