// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Checking;

/// <summary>How bad a finding is.</summary>
public enum ImageFindingKind
{
    /// <summary>Harmless: storage that nothing uses.</summary>
    Leak,

    /// <summary>Metadata that contradicts itself: the disk's content may be wrong, or become wrong with the next write.</summary>
    Corruption,
}

/// <summary>Something a check found.</summary>
/// <param name="Kind">How bad it is.</param>
/// <param name="Message">What it is, with the field and its value.</param>
/// <param name="OffsetBytes">Where in the file; null when it has no one place.</param>
/// <param name="IsRepaired">True when it was repaired.</param>
public sealed record ImageFinding(ImageFindingKind Kind, string Message, long? OffsetBytes = null, bool IsRepaired = false)
{
    /// <summary>What it is, with the field and its value; printable.</summary>
    public string Message { get; init; } = PrintableText.Of(Message);
}
