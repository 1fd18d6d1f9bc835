// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text.Json.Serialization;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.Disks.Storage;

/// <summary>A file below a disk's image that the disk shows and never writes: a parent, or a parent's data.</summary>
/// <remarks>Sessions and bitmaps see writes to the image alone, so what they promise holds as long as these files are as they were.
/// </remarks>
/// <param name="Path">Where it lay.</param>
/// <param name="FileId">As <see cref="FileEvidence.FileId"/>.</param>
/// <param name="LengthBytes">Its length.</param>
/// <param name="ModifiedTicks">As <see cref="FileEvidence.ModifiedTicks"/>.</param>
internal sealed record ParentFile(string Path, ulong FileId, long LengthBytes, long ModifiedTicks)
{
    private const int EntryBytes = 24;

    /// <summary>The parent whose data it has; null for a parent.</summary>
    [JsonIgnore]
    public string? DataOf { get; init; }

    /// <summary>What tells it from another file, and from itself at another time.</summary>
    [JsonIgnore]
    public FileEvidence Evidence => new(FileId, LengthBytes, ModifiedTicks);

    /// <summary>Looks at the files below an image that is open.</summary>
    /// <exception cref="Block.BlockException">Why one can't be looked at.</exception>
    public static IReadOnlyList<ParentFile> Read(ImageFiles files) =>
    [
        .. from file in files.Parents
           let evidence = FileEvidence.Read(file.Path)
           select new ParentFile(file.Path, evidence.FileId, evidence.LengthBytes, evidence.ModifiedTicks) { DataOf = file.DataOf },
    ];

    /// <summary>The files below one of the parents, as a mount of that image itself has them.</summary>
    public static IReadOnlyList<ParentFile> Below(IReadOnlyList<ParentFile> files, string parentPath) =>
        [.. files.SkipWhile(file => file.Path != parentPath).Skip(1).Where(file => file.DataOf != parentPath)];

    /// <summary>The first 8 bytes of a SHA-256 over identity, length and time of the files in their order; 0 for none.</summary>
    public static ulong Digest(IReadOnlyList<ParentFile> files)
    {
        if (files.Count == 0)
        {
            return 0;
        }

        byte[] bytes = new byte[files.Count * EntryBytes];
        for (int i = 0; i < files.Count; i++)
        {
            Span<byte> entry = bytes.AsSpan(i * EntryBytes, EntryBytes);
            BinaryPrimitives.WriteUInt64LittleEndian(entry, files[i].FileId);
            BinaryPrimitives.WriteInt64LittleEndian(entry[8..], files[i].LengthBytes);
            BinaryPrimitives.WriteInt64LittleEndian(entry[16..], files[i].ModifiedTicks);
        }

        return BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(bytes));
    }
}
