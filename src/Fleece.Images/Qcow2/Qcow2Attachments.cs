// SPDX-License-Identifier: MIT
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2;

/// <summary>What an image is opened with beside its own file.</summary>
internal sealed record Qcow2Attachments
{
    public static readonly Qcow2Attachments None = new();

    /// <summary>Null for an image without a parent, or one that is looked at alone, read-only.</summary>
    public ParentImage? Parent { get; init; }

    /// <summary>The external data file; null when the data lies in the image.</summary>
    public IContainerFile? DataFile { get; init; }

    /// <summary>The internal snapshot whose state is read; null for the active one.</summary>
    public Qcow2Snapshot? Snapshot { get; init; }

    /// <summary>What whole clusters that are written for the first time are compressed with: the image's compression
    /// type, or null to store them as they are.</summary>
    public ImageCompression? Compression { get; init; }

    /// <summary>The limits of an untrusted image; null for a trusted one.</summary>
    public UntrustedLimits? Limits { get; init; }

    /// <summary>Gets the changes of the tables, for an image that is open for writing; null for none.</summary>
    public ImageJournal? Journal { get; init; }

    /// <summary>Memory for L2 tables and refcount blocks.</summary>
    public long MetadataCacheBytes { get; init; } = Qcow2Limits.MetadataCacheBytes;

    /// <summary>By how much the file grows at least.</summary>
    public long GrowthBytes { get; init; } = Qcow2Limits.GrowthBytes;
}
