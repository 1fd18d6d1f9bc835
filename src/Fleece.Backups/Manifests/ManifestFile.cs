// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Text.Json;
using System.Text.Unicode;
using Fleece.Backups.Content;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Backups.Manifests;

/// <summary>Writes manifests so that each is there whole or not at all, and reads them.</summary>
/// <remarks>Threading. All members are safe from any thread; writers hold the repository's lock.</remarks>
internal static class ManifestFile
{
    /// <summary>What the field "fleeceManifest" says.</summary>
    public const int Version = 2;

    /// <summary>The version that had no seal and no content digests. Such manifests are read, and never written.</summary>
    public const int UnsealedVersion = 1;

    /// <summary>Most bytes of a manifest: about 6 million digests, which is 24 TiB of data in one backup.</summary>
    public const int MaximumBytes = 512 * 1024 * 1024;

    // Each extent on a line of its own, so that people and line tools can read it.
    private const string LineStart = "\n    ";

    /// <summary>Writes a manifest in one step, in place of the one that is there.</summary>
    public static void Write(string path, Manifest manifest)
    {
        WritePartial(path, manifest);
        Rename(path, overwrite: true);
    }

    /// <summary>Gives a manifest that <see cref="WritePartial"/> has written its name.</summary>
    public static void Rename(string path, bool overwrite = false) => WholeFile.Publish(path, overwrite);

    /// <summary>Writes the manifest, durably, under the name it has before its backup is one.</summary>
    public static void WritePartial(string path, Manifest manifest) => WholeFile.WritePartial(path, Encode(manifest));

    /// <summary>Reads a manifest.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.ManifestInvalid"/>, or why it can't be read.</exception>
    public static Manifest Read(string path)
    {
        try
        {
            using LocalFile file = LocalFile.Open(path, isReadOnly: true);
            if (file.LengthBytes > MaximumBytes)
            {
                throw ManifestReader.Invalid(path, $"it has {file.LengthBytes} bytes, and {MaximumBytes} is the limit");
            }

            byte[] bytes = new byte[file.LengthBytes];
            file.Read(0, bytes);
            return Parse(path, bytes);
        }
        catch (OutOfMemoryException)
        {
            throw ManifestReader.Invalid(path, "the machine has too little memory for what it lists");
        }
    }

    /// <summary>Reads the bytes of a manifest's file.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.ManifestInvalid"/></exception>
    public static Manifest Parse(string path, ReadOnlyMemory<byte> bytes)
    {
        if (bytes.IsEmpty)
        {
            throw ManifestReader.Invalid(path, "it is empty");
        }

        bool? isIntact = ManifestSeal.Examine(bytes.Span);
        if (isIntact == false)
        {
            throw ManifestReader.Invalid(
                path, "its seal does not fit its content, so the storage has damaged it, or something other than Fleece has edited it");
        }

        if (!Utf8.IsValid(bytes.Span))
        {
            throw ManifestReader.Invalid(path, "it is not in UTF-8");
        }

        try
        {
            return new ManifestReader(path, bytes, isSealed: isIntact == true).Read();
        }
        catch (JsonException e)
        {
            throw ManifestReader.Invalid(path, $"it is no JSON from byte {e.BytePositionInLine + 1} of line {e.LineNumber + 1} on");
        }
        catch (InvalidOperationException)
        {
            // The parser's word for an escape of half a surrogate pair (RFC 8259, section 8.2).
            throw ManifestReader.Invalid(path, "a text in it is no Unicode");
        }
    }

    /// <summary>An extent as it stands in a manifest.</summary>
    public static string Describe(ContentExtent extent) => extent.Digest is { } digest
        ? $"[{extent.Range.OffsetBytes},{extent.Range.LengthBytes},\"{Convert.ToHexStringLower(digest)}\"]"
        : $"[{extent.Range.OffsetBytes},{extent.Range.LengthBytes}]";

    private static byte[] Encode(Manifest manifest)
    {
        ArrayBufferWriter<byte> buffer = new();
        using Utf8JsonWriter json = new(buffer, new JsonWriterOptions { Indented = true, NewLine = "\n" });
        json.WriteStartObject();
        json.WriteNumber("fleeceManifest", Version);
        json.WriteNumber("number", manifest.Number);
        json.WriteString("id", manifest.Id);
        json.WriteString("chainId", manifest.ChainId);
        WriteOptional(json, "parentId", manifest.ParentId?.ToString());
        WriteOptional(json, "parentContentDigest", manifest.ParentContentDigest);
        json.WriteString("file", manifest.FileName);
        json.WriteString("format", manifest.Format.ToString());
        json.WriteString("compression", manifest.Compression.ToString());
        json.WriteString("instant", manifest.InstantAt);
        json.WriteString("completed", manifest.CompletedAt);
        json.WriteString("disk", manifest.DiskName);
        json.WriteString("session", manifest.SessionId);
        WriteOptional(json, "bitmap", manifest.BitmapName);
        WriteOptional(json, "source", manifest.SourceAddress);
        json.WriteBoolean("isShared", manifest.IsShared);
        json.WriteNumber("sizeBytes", manifest.SizeBytes);
        json.WriteNumber("fileSizeBytes", manifest.FileSizeBytes);
        json.WriteString("state", manifest.State.ToString());
        WriteOptional(json, "successorId", manifest.SuccessorId?.ToString());
        json.WriteBoolean("hasMerged", manifest.HasMerged);
        json.WriteString("contentDigest", manifest.ContentDigest);
        json.WriteStartArray("content");
        foreach (ContentExtent extent in manifest.Content)
        {
            json.WriteRawValue(LineStart + Describe(extent));
            CheckLength(json.BytesCommitted + json.BytesPending, manifest.FileName);
        }

        json.WriteEndArray();
        json.WriteString(ManifestSeal.Field, ManifestSeal.Blank);
        json.WriteEndObject();
        json.Flush();
        byte[] bytes = [.. buffer.WrittenSpan, (byte)'\n'];
        CheckLength(bytes.Length, manifest.FileName);
        ManifestSeal.Write(bytes);
        return bytes;
    }

    // Read back, it would be refused, and the backup be none.
    private static void CheckLength(long length, string imageName)
    {
        if (length > MaximumBytes)
        {
            throw new BlockException(
                BlockErrors.Unsupported,
                $"The manifest of '{imageName}' would be longer than {MaximumBytes} bytes, so it can't be written. " +
                "Back the disk up with Export-FleeceBackup -NoManifest, or divide it into smaller disks.",
                imageName,
                operation: "write");
        }
    }

    private static void WriteOptional(Utf8JsonWriter json, string name, string? value)
    {
        if (value is null)
        {
            json.WriteNull(name);
        }
        else
        {
            json.WriteString(name, value);
        }
    }
}
