// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images;

/// <summary>An internal snapshot: an earlier state of the disk in the same file.</summary>
/// <param name="Id">Unique in the image.</param>
/// <param name="Name">The name a user gave it.</param>
/// <param name="CreatedAt">When it was taken.</param>
/// <param name="SizeBytes">Size of the disk then, in bytes.</param>
/// <param name="VmStateBytes">Bytes of a running machine's memory kept with it; 0 for none.</param>
public sealed record ImageSnapshot(string Id, string Name, DateTimeOffset CreatedAt, long SizeBytes, long VmStateBytes)
{
    /// <summary>The id, printable.</summary>
    public string Id { get; init; } = PrintableText.Of(Id);

    /// <summary>The name a user gave it, printable.</summary>
    public string Name { get; init; } = PrintableText.Of(Name);
}
